//! From a value or a field of an object back to the lines that made it.

use std::fmt;

use provision_model::{Finding, Manifest, Origin, ResourceId, labels};
use serde::Serialize;
use serde_json::Value;

use crate::path::{self, Step};
use crate::pointer::escape;
use crate::render::{Rendered, Renderer, TracedField, nearest_field};
use crate::suggest::{listed, nearest};
use crate::{ConfigErrors, Environment, Layered, Sources};

/// A value and every layer that sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueExplanation {
    /// Path: `services.api-gateway.replicas`.
    pub path: String,
    /// Value that holds.
    pub value: Value,
    /// What the layers set, the one that holds first; empty for a default.
    pub layers: Vec<Layered>,
}

/// A field of an object, the template line that makes it and the values that it reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldExplanation {
    /// The object.
    pub object: ResourceId,
    /// The field.
    pub field: String,
    /// What is rendered there.
    pub value: Value,
    /// Template line of the field, or the nearest one around it.
    pub template: Origin,
    /// The text of that line.
    pub line: Option<String>,
    /// The values that the field is computed from, in the order in which they are read.
    pub values: Vec<ValueExplanation>,
}

impl fmt::Display for ValueExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} = {}", self.path, self.value)?;
        if self.layers.is_empty() {
            writeln!(f, "  default: no layer sets it")?;
        }
        for (place, layer) in self.layers.iter().enumerate() {
            let verb = if place == 0 { "set by" } else { "over" };
            writeln!(f, "  {verb:<6} {}: {}", layer.origin, layer.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} = {}", self.object, self.field, self.value)?;
        writeln!(f, "  template {}{}", self.template, self.line.as_ref().map_or_else(String::new, |line| format!(": {}", line.trim())))?;
        for value in &self.values {
            for line in value.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// Explains a value of the merged settings.
///
/// # Errors
/// [`ConfigErrors`] when the path is malformed or names nothing.
pub fn explain_value(environment: &Environment, path: &str) -> Result<ValueExplanation, ConfigErrors> {
    let fail = |finding: Finding| ConfigErrors::one(&Sources::default(), finding);
    let steps = path::parse(path)
        .map_err(|(column, why)| fail(Finding::fatal("bad-path", format!("the path `{path}`, column {column}: {why}"))))?;
    let mut value: &Value = &environment.values;
    let mut node = Some(environment.root);
    let mut walked = String::new();
    for (step, _) in &steps {
        let Some((name, next)) = into(value, step) else { return Err(fail(unknown(value, step, &walked))) };
        walked = match step {
            Step::Key(_) => path::join(&walked, &name),
            Step::Index(_) | Step::Item { .. } => format!("{walked}[{name}]"),
        };
        node = node.and_then(|node| environment.tree.step(node, step));
        value = next;
    }
    let layers = node.map(|node| environment.layered(node)).unwrap_or_default();
    Ok(ValueExplanation { path: walked, value: value.clone(), layers })
}

/// Follows one step and tells its name in a JSON pointer.
fn into<'v>(value: &'v Value, step: &Step) -> Option<(String, &'v Value)> {
    match step {
        Step::Key(key) => Some((key.clone(), value.get(key)?)),
        Step::Index(index) => Some((index.to_string(), value.get(*index)?)),
        Step::Item { key, value: wanted } => {
            let fits = |item: &Value| {
                item.get(key).is_some_and(|found| match found {
                    Value::String(text) => text == wanted,
                    other => *other == crate::tree::plain_value(wanted),
                })
            };
            let place = value.as_array()?.iter().position(fits)?;
            Some((place.to_string(), &value[place]))
        }
    }
}

fn unknown(value: &Value, step: &Step, walked: &str) -> Finding {
    let place = if walked.is_empty() { "the top level".to_owned() } else { format!("`{walked}`") };
    let known: Vec<&str> = value.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
    match step {
        Step::Key(key) => {
            let finding = Finding::fatal("unknown-path", format!("{place} has no `{key}`"));
            match nearest(key, known.iter().copied()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None if known.is_empty() => finding,
                None => finding.help(format!("there are {}", listed(known))),
            }
        }
        Step::Index(index) => Finding::fatal("unknown-path", format!("{place} has no item {index}")),
        Step::Item { key, value } => Finding::fatal("unknown-path", format!("{place} has no item with `{key}` = `{value}`")),
    }
}

/// Explains a field of a rendered object, given as `Kind/name` or `Kind/namespace/name` and a path such as `spec.replicas`.
///
/// # Errors
/// [`ConfigErrors`] when the object or the field is not there.
pub fn explain_field(
    sources: &Sources,
    environment: &Environment,
    rendered: &Rendered,
    object: &str,
    field: &str,
) -> Result<FieldExplanation, ConfigErrors> {
    let fail = |finding: Finding| ConfigErrors::one(sources, finding);
    let place = find(rendered, object).map_err(|finding| fail(*finding))?;
    let wanted = &rendered.desired.objects[place];
    let (pointer, value) = pointer(&wanted.manifest, field).map_err(|finding| fail(*finding))?;
    let renderer = Renderer::new(sources)?;
    let unit = rendered.provenance.units.get(place);
    let fields = unit.map(|unit| renderer.trace(environment, unit)).unwrap_or_default();
    let ours = pointer == format!("/metadata/labels/{}", escape(labels::MANAGED_BY));
    let traced = nearest_field(&fields, &pointer).filter(|_| !ours);
    let template = traced.map_or_else(|| wanted.origin.clone(), |field| renderer.origin(field));
    let values = traced.map(|field| values(environment, field, &pointer)).unwrap_or_default();
    let line = usize::try_from(template.line).ok().and_then(|line| sources.text(&template.file)?.lines().nth(line.checked_sub(1)?));
    Ok(FieldExplanation {
        object: wanted.id(),
        field: field.to_owned(),
        value: value.clone(),
        line: line.map(str::to_owned),
        template,
        values,
    })
}

/// Explains what a field reads; inside of a whole map that is written out, the path goes on into it.
fn values(environment: &Environment, field: &TracedField, pointer: &str) -> Vec<ValueExplanation> {
    let rest = format!("/0{pointer}").strip_prefix(&field.pointer).unwrap_or_default().to_owned();
    let deeper = |path: &String| {
        let steps = rest.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        steps.fold(
            path.clone(),
            |path, step| if step.parse::<usize>().is_ok() { format!("{path}[{step}]") } else { path::join(&path, &step) },
        )
    };
    let explain = |path: &String| explain_value(environment, &deeper(path)).or_else(|_| explain_value(environment, path)).ok();
    field.reads.iter().filter_map(explain).collect()
}

fn find(rendered: &Rendered, text: &str) -> Result<usize, Box<Finding>> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, None, *name),
        [kind, namespace, name] => (*kind, Some(*namespace), *name),
        _ => {
            return Err(
                Finding::fatal("bad-object", format!("`{text}` names no object; write `Kind/name` or `Kind/namespace/name`")).into()
            );
        }
    };
    let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
    let fits = |id: &ResourceId| {
        id.kind.kind.eq_ignore_ascii_case(kind)
            && id.name == name
            && group.is_none_or(|group| id.kind.group == group)
            && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace))
    };
    let ids: Vec<ResourceId> = rendered.desired.objects.iter().map(provision_model::DesiredObject::id).collect();
    let found: Vec<usize> = (0..ids.len()).filter(|place| fits(&ids[*place])).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let finding = Finding::fatal("unknown-object", format!("no object `{text}` is rendered"));
            let same_kind = ids.iter().filter(|id| id.kind.kind.eq_ignore_ascii_case(kind)).map(|id| id.name.as_str());
            let kinds = ids.iter().map(|id| id.kind.kind.as_str());
            let finding = match (nearest(name, same_kind.clone()), nearest(kind, kinds.clone())) {
                (Some(near), _) => finding.help(format!("did you mean `{kind}/{near}`?")),
                (None, _) if same_kind.clone().next().is_some() => finding.help(format!("of that kind there are {}", listed(same_kind))),
                (None, Some(near)) => finding.help(format!("did you mean the kind `{near}`?")),
                (None, None) => finding.help(format!("kinds: {}", listed(kinds))),
            };
            Err(finding.into())
        }
        several => {
            let list: Vec<String> = several.iter().map(|place| ids[*place].to_string()).collect();
            Err(Finding::fatal("ambiguous-object", format!("`{text}` names several objects"))
                .help(format!("say which: {}", list.join(", ")))
                .into())
        }
    }
}

fn pointer<'m>(manifest: &'m Manifest, field: &str) -> Result<(String, &'m Value), Box<Finding>> {
    let steps =
        path::parse(field).map_err(|(column, why)| Finding::fatal("bad-path", format!("the field `{field}`, column {column}: {why}")))?;
    let (mut pointer, mut value, mut walked) = (String::new(), manifest.value(), String::new());
    for (step, _) in &steps {
        let (name, next) = into(value, step).ok_or_else(|| unknown(value, step, &walked))?;
        pointer.push('/');
        pointer.push_str(&escape(&name));
        walked = if value.is_array() { format!("{walked}[{name}]") } else { path::join(&walked, &name) };
        value = next;
    }
    Ok((pointer, value))
}
