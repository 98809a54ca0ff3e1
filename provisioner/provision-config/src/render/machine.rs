use std::sync::{Arc, OnceLock};

use minijinja::value::{Object, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Expression, State, Template, UndefinedBehavior};
use provision_model::{Digest, SecretRef, parse_period};
use serde_json::{Map, Number, Value as Json};

use super::program::{Part, Program};
use super::template::Templates;
use super::tracked::{Recorder, Tracked, from_json};

/// Instructions that one scalar may take.
const FUEL: u64 = 200_000;

/// The template engine with its functions, and the compiled form of each scalar once it is needed.
pub(crate) struct Machine<'r> {
    environment: &'r Environment<'r>,
    templates: &'r Templates,
    compiled: Vec<OnceLock<Result<Compiled<'r>, Failure>>>,
}

enum Compiled<'r> {
    Expression(Expression<'r, 'r>),
    Text(Template<'r, 'r>),
}

/// Why a scalar could not be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Text inside the scalar that the problem is about.
    pub(crate) needle: Option<String>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { code: "template", message: message.into(), help: None, needle: None }
    }
}

/// Builds the engine: strict, without escaping, without debug output (which would print what variables hold).
pub(crate) fn environment<'r>() -> Environment<'r> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(false);
    environment.set_fuel(Some(FUEL));
    // Undefined here is an `if` without `else`; a name that is not defined was refused before.
    environment.set_formatter(|out, _, value| match as_text(value) {
        Err(_) if value.is_undefined() => Ok(()),
        Ok(text) => out.write_str(&text).map_err(Error::from),
        Err(failure) => Err(Error::new(ErrorKind::InvalidOperation, failure.message)),
    });
    environment.add_filter("quantity", |text: String| quantity(&text).map_err(invalid));
    environment.add_filter("seconds", |text: String| {
        let period = parse_period(&text).ok_or_else(|| invalid(format!("`{text}` is no length of time such as `15s` or `5m`")))?;
        Ok::<u64, Error>(period.as_secs())
    });
    environment.add_filter("b64encode", |text: String| base64(text.as_bytes()));
    environment.add_filter("digest", |value: Value, digits: usize| {
        let json = to_json(&value).map_err(|failure| invalid(failure.message))?;
        Ok::<String, Error>(Digest::of_json(&json).short(digits).to_owned())
    });
    environment.add_function("image", |state: &State, name: String| image(state, &name));
    environment.add_function("secret", |state: &State, name: String| secret(state, &name));
    environment
        .add_function("fail", |message: String| Err::<Value, Error>(Error::new(ErrorKind::InvalidOperation, format!("{FAIL}{message}"))));
    environment
}

/// Marks what a template says itself, apart from what the engine says.
const FAIL: &str = "\u{1}";

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

impl<'r> Machine<'r> {
    pub(crate) fn new(environment: &'r Environment<'r>, templates: &'r Templates) -> Self {
        Self { environment, templates, compiled: (0..templates.sources.len()).map(|_| OnceLock::new()).collect() }
    }

    /// Compiles every scalar and lists those that are no valid template.
    pub(crate) fn syntax_errors(&self) -> Vec<(usize, Failure)> {
        (0..self.compiled.len())
            .filter(|slot| !matches!(self.templates.sources[*slot].0, Program::Path(_) | Program::Parts(_)))
            .filter_map(|slot| self.compiled(slot).err().map(|failure| (slot, failure)))
            .collect()
    }

    fn compiled(&self, slot: usize) -> Result<&Compiled<'r>, Failure> {
        let make = || {
            let made = match &self.templates.sources[slot].0 {
                Program::Expression(source) => self.environment.compile_expression(source).map(Compiled::Expression),
                Program::Text(source) => self.environment.template_from_str(source).map(Compiled::Text),
                Program::Path(_) | Program::Parts(_) => return Err(Failure::new("not compiled")),
            };
            made.map_err(|error| failure(&error))
        };
        self.compiled[slot].get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// Computes a scalar.
    pub(crate) fn evaluate(&self, slot: usize, scope: &Arc<Scope>) -> Result<Value, Failure> {
        match &self.templates.sources[slot].0 {
            Program::Path(steps) => lookup(scope, steps),
            Program::Parts(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(literal) => text.push_str(literal),
                        Part::Path(steps) => {
                            let found = lookup(scope, steps)?;
                            let shown = as_text(&found).map_err(|failure| Failure { needle: Some(steps.join(".")), ..failure })?;
                            text.push_str(&shown);
                        }
                    }
                }
                Ok(Value::from(text))
            }
            Program::Expression(_) | Program::Text(_) => {
                let context = Value::from_dyn_object(scope.clone());
                let result = match self.compiled(slot)? {
                    Compiled::Expression(expression) => expression.eval(context),
                    Compiled::Text(template) => template.render(context).map(Value::from),
                };
                let value = result.map_err(|error| self.explained(slot, scope, &error))?;
                if value.is_undefined() { Err(self.undefined(slot, scope)) } else { Ok(value) }
            }
        }
    }

    fn explained(&self, slot: usize, scope: &Arc<Scope>, error: &Error) -> Failure {
        match error.kind() {
            ErrorKind::UndefinedError => self.undefined(slot, scope),
            _ => failure(error),
        }
    }

    /// Finds the name that is not defined by looking each one up.
    fn undefined(&self, slot: usize, scope: &Arc<Scope>) -> Failure {
        let source = super::template::source(&self.templates.sources[slot].0);
        let known = |name: &Vec<String>| name.first().is_some_and(|first| scope.lookup(first).is_some());
        let names = super::program::names(&source);
        let found = names.iter().filter(|name| known(name)).find_map(|name| lookup(scope, name).err());
        let own = |name: &&Vec<String>| {
            let is_word = |word: &str| {
                matches!(word, "if" | "else" | "elif" | "endif" | "for" | "in" | "endfor" | "set" | "and" | "or" | "not" | "is")
            };
            !known(name) && name.first().is_some_and(|first| !is_word(first) && !self.is_function(first))
        };
        let unknown = || names.iter().find(own).and_then(|name| lookup(scope, name).err());
        found.or_else(unknown).unwrap_or_else(|| Failure { code: "undefined", ..Failure::new("a value is not defined") })
    }

    fn is_function(&self, name: &str) -> bool {
        let known = ["true", "false", "none", "True", "False", "None", "defined", "undefined", "string", "integer", "number", "mapping"];
        known.contains(&name)
            || self.environment.globals().any(|(global, _)| global == name)
            || self
                .environment
                .compile_expression_owned(format!("1|{name}"))
                .is_ok_and(|filter| !matches!(filter.eval(()).map_err(|error| error.kind()), Err(ErrorKind::UnknownFilter)))
    }
}

/// A name and what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) name: Arc<str>,
    pub(crate) value: Value,
    /// Paths that were read to compute the value, when fields are traced: who reads the name reads them too.
    pub(crate) paths: Vec<String>,
}

impl Binding {
    pub(crate) fn new(name: impl Into<Arc<str>>, value: Value) -> Self {
        Self { name: name.into(), value, paths: Vec::new() }
    }
}

/// Names that a scalar sees.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) names: Vec<Binding>,
    pub(crate) parent: Option<Arc<Scope>>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Scope {
    /// Finds a name, the innermost first.
    pub(crate) fn lookup(&self, name: &str) -> Option<Value> {
        match self.names.iter().rev().find(|binding| *binding.name == *name) {
            Some(binding) => {
                self.recorder.record_paths(&binding.paths);
                Some(binding.value.clone())
            }
            None => self.parent.as_ref().and_then(|parent| parent.lookup(name)),
        }
    }

    fn known(&self) -> Vec<String> {
        let mut names = self.parent.as_ref().map(|parent| parent.known()).unwrap_or_default();
        names.extend(self.names.iter().map(|binding| binding.name.to_string()));
        names
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.lookup(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.lookup(key)
    }
}

fn lookup(scope: &Arc<Scope>, steps: &[String]) -> Result<Value, Failure> {
    let missing = |at: usize, known: Vec<String>| {
        let path = steps[..=at].join(".");
        let near = crate::suggest::nearest(&steps[at], known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let help =
            near.or_else(|| (!known.is_empty()).then(|| format!("there are {}", crate::suggest::listed(known.iter().map(String::as_str)))));
        Failure { code: "undefined", message: format!("`{path}` is not defined"), help, needle: Some(path) }
    };
    let mut value = scope.lookup(&steps[0]).ok_or_else(|| missing(0, scope.known()))?;
    for (at, step) in steps.iter().enumerate().skip(1) {
        let next = match value.downcast_object_ref::<Tracked>() {
            Some(_) => value.downcast_object::<Tracked>().and_then(|tracked| tracked.key(step)),
            None => value.get_attr(step).ok().filter(|next| !next.is_undefined()),
        };
        value = match next {
            Some(next) => next,
            None if value.is_none() => {
                let path = steps[..at].join(".");
                let message = format!("`{path}` is not set, so it has no `{step}`");
                let help = Some(format!("ask for it first: `{path}.{step} if {path} else none`"));
                return Err(Failure { code: "undefined", message, help, needle: Some(steps[..=at].join(".")) });
            }
            None => {
                let keys = match value.kind() {
                    ValueKind::Map => value.try_iter().map(|keys| keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()),
                    _ => Ok(Vec::new()),
                };
                return Err(missing(at, keys.unwrap_or_default()));
            }
        };
    }
    Ok(value)
}

fn failure(error: &Error) -> Failure {
    let detail = error.detail().unwrap_or_default();
    if let Some(own) = detail.strip_prefix(FAIL) {
        return Failure { code: "template-fail", ..Failure::new(own) };
    }
    match error.kind() {
        ErrorKind::SyntaxError => Failure { code: "template-syntax", ..Failure::new(format!("not a valid expression: {detail}")) },
        ErrorKind::OutOfFuel => Failure { code: "template-fuel", ..Failure::new("the template takes too many steps") },
        ErrorKind::UndefinedError => Failure { code: "undefined", ..Failure::new("a value is not defined") },
        kind if detail.is_empty() => Failure::new(kind.to_string()),
        ErrorKind::InvalidOperation => Failure::new(detail),
        kind => Failure::new(format!("{kind}: {detail}")),
    }
}

/// Writes a scalar as text; what is no scalar can't be part of a text.
fn as_text(value: &Value) -> Result<String, Failure> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        ValueKind::None | ValueKind::Undefined => Err(Failure::new("a value that is not set can't be part of a text")),
        _ => Err(Failure {
            help: Some("use the filter `tojson` to write it as JSON".to_owned()),
            ..Failure::new("a list or a map can't be part of a text")
        }),
    }
}

/// Turns a value into JSON; entries of maps that are not set are left out.
pub(crate) fn to_json(value: &Value) -> Result<Json, Failure> {
    if let Some(tracked) = value.downcast_object_ref::<Tracked>() {
        return Ok(without_nulls(tracked.read_whole()));
    }
    match value.kind() {
        ValueKind::Undefined => Err(Failure { code: "undefined", ..Failure::new("a value is not defined") }),
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::String => Ok(Json::from(value.as_str().unwrap_or_default())),
        ValueKind::Number => {
            number(value).map(Json::Number).ok_or_else(|| Failure::new(format!("{value} is no number that JSON can hold")))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| failure(&error))?;
            items.map(|item| to_json(&item)).collect::<Result<Vec<_>, _>>().map(Json::Array)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter().map_err(|error| failure(&error))? {
                let inner = to_json(&value.get_item(&key).map_err(|error| failure(&error))?)?;
                if !inner.is_null() {
                    map.insert(as_text(&key)?, inner);
                }
            }
            Ok(Json::Object(map))
        }
        kind => Err(Failure::new(format!("a {kind} can't stand in an object"))),
    }
}

fn number(value: &Value) -> Option<Number> {
    if !value.is_integer() {
        return f64::try_from(value.clone()).ok().and_then(Number::from_f64);
    }
    let signed = i64::try_from(value.clone()).ok().map(Number::from);
    signed.or_else(|| u64::try_from(value.clone()).ok().map(Number::from))
}

fn without_nulls(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            Json::Object(map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(without_nulls).collect()),
        leaf => leaf.clone(),
    }
}

fn entry(state: &State, path: &[&str], name: &str, what: &str) -> Result<Value, Error> {
    let mut value = state.lookup("values").ok_or_else(|| invalid("`values` is not defined".to_owned()))?;
    for step in path {
        value = value.get_attr(step)?;
    }
    let found = value.get_attr(name).ok().filter(|found| !found.is_undefined());
    found.ok_or_else(|| {
        let known: Vec<String> =
            value.try_iter().map(|keys| keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()).unwrap_or_default();
        let near = crate::suggest::nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        invalid(format!("there is no {what} `{name}` in `{}`{}", path.join("."), near.unwrap_or_default()))
    })
}

/// `image(name)`: the digest wins over the tag.
fn image(state: &State, name: &str) -> Result<Value, Error> {
    let entry = entry(state, &["images"], name, "image")?;
    let part = |key: &str| entry.get_attr(key).ok().filter(|value| value.kind() == ValueKind::String).map(|value| value.to_string());
    let image = part("image").unwrap_or_default();
    Ok(Value::from(match (part("digest"), part("tag")) {
        (Some(digest), _) => format!("{image}@{digest}"),
        (None, Some(tag)) => format!("{image}:{tag}"),
        (None, None) => image,
    }))
}

/// `secret(NAME)`: a reference, never a value.
fn secret(state: &State, name: &str) -> Result<Value, Error> {
    let entry = entry(state, &["secrets", "items"], name, "secret")?;
    let part = |key: &str| entry.get_attr(key).map(|value| value.to_string());
    let reference = SecretRef { path: part("path")?, property: part("property")?, version: None };
    Ok(from_json(&reference.to_value()))
}

/// Reads a Kubernetes quantity as a number: `2Gi` is 2147483648, `500m` is 0.5.
fn quantity(text: &str) -> Result<Value, String> {
    if !crate::settings::is_quantity(text) {
        return Err(format!("`{text}` is no quantity such as `500m`, `2Gi` or `0.5`"));
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => 1.0,
    };
    let number = if suffix.starts_with(['e', 'E']) && suffix.len() > 1 && suffix != "Ei" {
        text.parse()
    } else {
        digits.parse::<f64>().map(|n| n * factor)
    };
    let number = number.map_err(|_| format!("`{text}` is no quantity"))?;
    let whole = Value::from(number).to_string();
    Ok(whole.strip_suffix(".0").and_then(|whole| whole.parse::<i64>().ok()).map_or_else(|| Value::from(number), Value::from))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let block = chunk.iter().enumerate().fold(0u32, |block, (place, byte)| block | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let letter = LETTERS[(block >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
