//! Configuration from environment variables: typed, documented where it is declared, all mistakes at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

/// How the text of a variable becomes a value.
pub struct Kind<T> {
    /// What is expected, to complete "expected ...".
    pub expected: &'static str,
    /// Reads the text; none if it is not what is expected.
    pub parse: fn(&str) -> Option<T>,
}

/// A variable that a service reads; declared once, as a constant.
pub struct Variable<T: 'static> {
    /// Name in the environment.
    pub name: &'static str,
    /// How its text is read.
    pub kind: &'static Kind<T>,
    /// Text that stands for an unset variable; must be readable by `kind`.
    pub default: Option<&'static str>,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// What it is for, as a phrase for the configuration table.
    pub meaning: &'static str,
}

impl<T> Variable<T> {
    /// Declares a variable without a default.
    pub const fn new(name: &'static str, kind: &'static Kind<T>, meaning: &'static str) -> Self {
        Self { name, kind, default: None, secret: false, meaning }
    }

    /// Adds the text that stands for an unset variable.
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Marks the value as one that must never be shown.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// One thing wrong with the configuration; never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What is expected of it.
    pub expected: &'static str,
    /// What was found, if something was and it may be shown.
    pub found: Found,
}

/// What a variable held that is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or the empty text.
    Nothing,
    /// A text that may be shown, shortened.
    Text(String),
    /// A text that must not be shown.
    Hidden,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, expected, found } = self;
        match found {
            Found::Nothing => write!(f, "{variable} is not set: expected {expected}"),
            Found::Text(text) => write!(f, "{variable} is {text:?}: expected {expected}"),
            Found::Hidden => write!(f, "{variable} is set but malformed: expected {expected}"),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the configuration has {} problems", problems.len())]
pub struct ConfigError {
    /// The problems, in the order in which the variables are read.
    pub problems: Vec<Problem>,
}

/// Longest part of a wrong value that is repeated to the user.
const SHOWN: usize = 60;

/// The environment while a service reads it: hands out values and collects problems.
///
/// A value that is missing or wrong is replaced by its type's default so that reading goes on; [`Settings::finish`] then
/// refuses the whole.
#[derive(Default)]
pub struct Settings {
    environment: BTreeMap<String, OsString>,
    problems: Vec<Problem>,
    rows: Vec<Row>,
}

/// One variable as the configuration table and the start of the log show it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    expected: &'static str,
    default: Option<&'static str>,
    required: bool,
    secret: bool,
    meaning: &'static str,
    set: bool,
    shown: String,
}

impl Settings {
    /// Takes the variables to read; the process's own environment or, in tests, any other.
    pub fn new(environment: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>) -> Self {
        let readable = |(name, value): (_, _)| Some((OsString::into_string(name).ok()?, value));
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).filter_map(readable).collect();
        Self { environment, ..Self::default() }
    }

    /// Reads a variable that must be set, unless it has a default.
    pub fn required<T: Default>(&mut self, variable: &Variable<T>) -> T {
        let value = self.read(variable, true);
        if value.is_none() && self.text(variable.name).is_none() && variable.default.is_none() {
            self.problems.push(Problem { variable: variable.name, expected: variable.kind.expected, found: Found::Nothing });
        }
        value.unwrap_or_default()
    }

    /// Reads a variable that may be unset.
    pub fn optional<T>(&mut self, variable: &Variable<T>) -> Option<T> {
        self.read(variable, false)
    }

    /// Returns `config` if nothing was wrong with what it was made of.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn finish<C>(self, config: C) -> Result<C, ConfigError> {
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError { problems: self.problems }) }
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the text of a variable; the empty text counts as unset, as Kubernetes has no other way to unset.
    fn text(&self, name: &str) -> Option<&OsString> {
        self.environment.get(name).filter(|value| !value.is_empty())
    }

    fn read<T>(&mut self, variable: &Variable<T>, required: bool) -> Option<T> {
        let own = self.text(variable.name);
        let set = own.is_some();
        // Not read as it is shown: a secret with replaced characters would be another secret.
        let is_text = own.is_none_or(|own| own.to_str().is_some());
        let text = own.map(|own| own.to_string_lossy().into_owned()).or_else(|| variable.default.map(str::to_owned));
        let value = text.as_deref().filter(|_| is_text).and_then(variable.kind.parse);
        if self.rows.iter().any(|row| row.name == variable.name) {
            return value;
        }
        if value.is_none()
            && let Some(text) = &text
        {
            let found = if variable.secret { Found::Hidden } else { Found::Text(text.chars().take(SHOWN).collect()) };
            self.problems.push(Problem { variable: variable.name, expected: variable.kind.expected, found });
        }
        self.rows.push(Row {
            name: variable.name,
            expected: variable.kind.expected,
            default: variable.default,
            required: required && variable.default.is_none(),
            secret: variable.secret,
            meaning: variable.meaning,
            set,
            shown: text.filter(|_| !variable.secret).unwrap_or_default(),
        });
        value
    }
}

impl Row {
    /// Returns the effective value for the log: a secret only as set or not.
    pub(crate) fn effective(&self) -> &str {
        match (self.secret, self.set) {
            (true, true) => "(set)",
            (true, false) => "(not set)",
            (false, _) => &self.shown,
        }
    }

    /// Returns the variable as a row of the configuration table.
    pub(crate) fn markdown(&self) -> String {
        let default = match (self.required, self.default) {
            (true, _) => "**required**".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => String::new(),
        };
        let secret = if self.secret { " (secret)" } else { "" };
        format!("| `{}` | {}{secret} | {default} | {} |", self.name, self.expected, self.meaning)
    }
}

#[cfg(test)]
mod tests;
