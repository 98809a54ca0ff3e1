//! Secret values that are made of others: `postgres://user:{PASSWORD}@host`.

use provision_model::{Finding, SecretRef};

use super::Environment;
use crate::settings::LocalSecret;
use crate::suggest::{listed, nearest};

/// A part of a composed secret value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Composed {
    /// A text as it is.
    Text(String),
    /// The value of another item.
    Value(SecretRef),
}

/// A part as it is written.
#[derive(Debug, PartialEq, Eq)]
enum Written<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// Splits a text at `{NAME}`; a brace that does not hold a name stands for itself.
fn split(text: &str) -> Vec<Written<'_>> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut parts = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|found| at + found) {
        at = open + 1;
        let Some(close) = text[at..].find('}').map(|found| at + found) else { break };
        if is_name(&text[at..close]) {
            if plain < open {
                parts.push(Written::Text(&text[plain..open]));
            }
            parts.push(Written::Name(&text[at..close]));
            (plain, at) = (close + 1, close + 1);
        }
    }
    if plain < text.len() {
        parts.push(Written::Text(&text[plain..]));
    }
    parts
}

impl Environment {
    /// Returns the parts of a composed secret value; names that are no items were refused before.
    pub fn composed(&self, text: &str) -> Vec<Composed> {
        let items = &self.settings.secrets.items;
        let part = |written: Written<'_>| match written {
            Written::Text(text) => Some(Composed::Text(text.to_owned())),
            Written::Name(name) => items
                .get(name)
                .map(|item| Composed::Value(SecretRef { path: item.path.clone(), property: item.property.clone(), version: None })),
        };
        split(text).into_iter().filter_map(part).collect()
    }
}

/// Finds composed values that name what is no item, or another composed one.
pub(super) fn check(environment: &Environment) -> Vec<Finding> {
    let items = &environment.settings.secrets.items;
    let mut findings = Vec::new();
    for (name, item) in items.iter() {
        let Some(LocalSecret::Composed { text }) = &item.local else { continue };
        for part in split(text) {
            let Written::Name(part) = part else { continue };
            let message = match items.get(part).map(|item| &item.local) {
                None => format!("`{part}` is no secret of `secrets.items`"),
                Some(Some(LocalSecret::Composed { .. })) => format!("`{part}` is composed itself"),
                Some(_) => continue,
            };
            let others = || items.iter().map(|(known, _)| known).filter(|known| *known != name);
            let help = match nearest(part, others()) {
                Some(near) if items.get(part).is_none() => format!("did you mean `{near}`?"),
                _ => format!("compose only of values that are not composed; there are {}", listed(others())),
            };
            let finding = Finding::fatal("bad-composed-secret", message).help(help);
            let path = format!("secrets.items.{name}.local.text");
            let origin = environment.entries().into_iter().find(|entry| entry.path == path).and_then(|entry| entry.origin);
            findings.push(match origin {
                Some(origin) => finding.at(origin),
                None => finding,
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_parts_and_other_braces_are_text() {
        use Written::{Name, Text};
        for (text, parts) in [
            ("", vec![]),
            ("plain", vec![Text("plain")]),
            ("{A}", vec![Name("A")]),
            ("db://u:{PASS_1}@h/{DB}?x", vec![Text("db://u:"), Name("PASS_1"), Text("@h/"), Name("DB"), Text("?x")]),
            ("{A}{B}", vec![Name("A"), Name("B")]),
            ("{} { A} {A", vec![Text("{} { A} {A")]),
            ("{\"k\": \"{A}\"}", vec![Text("{\"k\": \""), Name("A"), Text("\"}")]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }
}
