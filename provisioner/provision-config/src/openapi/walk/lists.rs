use std::collections::HashMap;

use serde_json::Value;

use super::{Walk, quoted};
use crate::openapi::node::List;
use crate::openapi::path::Path;

impl Walk<'_> {
    /// Checks every item of a list, and that no two of them are the same to the API server.
    pub(super) fn list(&mut self, list: &List, items: &[Value], path: &Path<'_>) {
        for (index, item) in items.iter().enumerate() {
            self.value(list.of, item, &Path::Index(path, index));
        }
        if items.len() < 2 {
            return;
        }
        if list.set {
            self.repeated(items, path, |item| Some(item.as_str().map_or_else(|| item.to_string(), str::to_owned)));
        }
        if !list.keys.is_empty() {
            self.repeated(items, path, |item| key_text(list, item));
        }
        if let Some(unique) = &list.unique {
            self.repeated(items, path, |item| Some(format!("{unique}: {}", item.get(unique)?.as_str().filter(|text| !text.is_empty())?)));
        }
    }

    fn repeated(&mut self, items: &[Value], path: &Path<'_>, key: impl Fn(&Value) -> Option<String>) {
        let mut first: HashMap<String, usize> = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(text) = key(item) else { continue };
            match first.get(&text) {
                Some(earlier) => {
                    let place = Path::Index(path, index);
                    let message = format!("{} repeats {} of {}", quoted(&place), self.shown(&text), quoted(&Path::Index(path, *earlier)));
                    self.report("duplicate-item", &place, message, None);
                }
                None => {
                    first.insert(text, index);
                }
            }
        }
    }
}

/// Writes the keys of an item: `containerPort: 80, protocol: TCP`; `None` when it has none of them.
fn key_text(list: &List, item: &Value) -> Option<String> {
    let mut text = String::new();
    let mut own = false;
    for key in &list.keys {
        let value = match item.get(key).filter(|value| !value.is_null()) {
            Some(Value::String(value)) => (value.clone(), true),
            Some(value) => (value.to_string(), true),
            None => (list.defaults.get(key).cloned().unwrap_or_default(), false),
        };
        own |= value.1;
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(key);
        text.push_str(": ");
        text.push_str(&value.0);
    }
    own.then_some(text)
}
