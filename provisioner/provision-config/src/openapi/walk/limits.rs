use serde_json::Value;

use super::{Walk, quoted};
use crate::openapi::node::Limits;
use crate::openapi::path::Path;
use crate::suggest::listed;

impl Walk<'_> {
    /// Checks what a custom resource's schema demands beyond the type.
    pub(super) fn limits(&mut self, limits: &Limits, value: &Value, path: &Path<'_>) {
        let field = quoted(path);
        if !limits.values.is_empty() && !limits.values.contains(value) {
            let known: Vec<String> = limits.values.iter().map(Value::to_string).collect();
            let known = listed(known.iter().map(String::as_str));
            self.report("invalid-value", path, format!("{field} is {}; expected one of {known}", self.shown(&value.to_string())), None);
        }
        match value {
            Value::Number(number) => {
                if let Some(problem) = number.as_f64().and_then(|number| outside(limits, number)) {
                    self.report("invalid-value", path, format!("{field} is {number}; expected {problem}"), None);
                }
            }
            Value::String(text) => {
                self.length(limits, text.chars().count(), "characters", path);
                if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.fits(text)) {
                    let message = format!("{field} is {}; expected a text that fits `{}`", self.shown(text), pattern.source);
                    self.report("invalid-value", path, message, None);
                }
            }
            Value::Array(items) => self.length(limits, items.len(), "items", path),
            Value::Object(entries) => self.length(limits, entries.len(), "entries", path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn length(&mut self, limits: &Limits, length: usize, unit: &str, path: &Path<'_>) {
        let length = length as u64;
        let problem = match limits.length {
            (Some(least), _) if length < least => format!("at least {least} {unit}"),
            (_, Some(most)) if length > most => format!("at most {most} {unit}"),
            _ => return,
        };
        self.report("invalid-value", path, format!("{} has length {length}; expected {problem}", quoted(path)), None);
    }
}

fn outside(limits: &Limits, number: f64) -> Option<String> {
    let (above, below) = limits.exclusive;
    match (limits.least, limits.most) {
        (Some(least), _) if number < least || (above && number <= least) => {
            Some(format!("{} {least}", if above { "more than" } else { "at least" }))
        }
        (_, Some(most)) if number > most || (below && number >= most) => {
            Some(format!("{} {most}", if below { "less than" } else { "at most" }))
        }
        _ => None,
    }
}
