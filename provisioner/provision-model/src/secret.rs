use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A reference to one secret value; the value itself is looked up only where it is written.
///
/// In a manifest it stands as `{"$secret": {"path": "feature/database", "property": "url"}}`, and only under `data` of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Path in the store: `feature/database`.
    pub path: String,
    /// Property under the path: `url`.
    pub property: String,
    /// Version of the value; the newest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl SecretRef {
    /// The key that marks a reference inside a manifest.
    pub const MARKER: &'static str = "$secret";

    /// Writes the reference in the form that manifests carry.
    pub fn to_value(&self) -> Value {
        serde_json::json!({ Self::MARKER: self })
    }

    /// Reads a reference back; `None` when `value` is none.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        if map.len() != 1 {
            return None;
        }
        serde_json::from_value(map.get(Self::MARKER)?.clone()).ok()
    }
}

/// Lists every reference in `value` with its JSON pointer, in document order.
pub fn secret_references(value: &Value) -> Vec<(String, SecretRef)> {
    let mut found = Vec::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, pointer: String, found: &mut Vec<(String, SecretRef)>) {
    if let Some(reference) = SecretRef::from_value(value) {
        found.push((pointer, reference));
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                collect(child, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, child) in items.iter().enumerate() {
                collect(child, format!("{pointer}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_with_their_place() {
        let reference = SecretRef { path: "feature/database".into(), property: "url".into(), version: None };
        let object = json!({"data": {"a/b": reference.to_value(), "plain": "x"}});
        assert_eq!(secret_references(&object), vec![("/data/a~1b".to_owned(), reference)]);
    }
}
