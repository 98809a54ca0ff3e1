use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One step of a path into a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldSegment {
    /// A key of a map.
    Key(String),
    /// An item of a list, by its place.
    Index(usize),
    /// An item of a list that merges by key, by the values of its keys (JSON text each); the empty key stands for the item itself.
    Item(BTreeMap<String, String>),
}

/// A path into a manifest, from the root of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldPath(pub Vec<FieldSegment>);

impl FieldPath {
    /// Returns this path with one more map key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(FieldSegment::Key(key.to_owned()))
    }

    /// Returns this path with one more list place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(FieldSegment::Index(index))
    }

    /// Returns this path with one more segment.
    #[must_use]
    pub fn with(&self, segment: FieldSegment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// Looks the path up in `root`; keyed items are found by comparing their key values.
    pub fn lookup<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |value, segment| match segment {
            FieldSegment::Key(key) => value.get(key),
            FieldSegment::Index(index) => value.get(index),
            FieldSegment::Item(keys) => value
                .as_array()?
                .iter()
                .find(|item| keys.iter().all(|(key, wanted)| key_value(item, key).map(Value::to_string).as_ref() == Some(wanted))),
        })
    }
}

fn key_value<'v>(item: &'v Value, key: &str) -> Option<&'v Value> {
    if key.is_empty() { Some(item) } else { item.get(key) }
}

/// `spec.template.spec.containers[name=api].image`; keys with dots are quoted: `metadata.labels["app.kubernetes.io/name"]`.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                FieldSegment::Key(key) if key.contains(['.', '/', '[', ' ']) || key.is_empty() => write!(f, "[\"{key}\"]")?,
                FieldSegment::Key(key) if place == 0 => write!(f, "{key}")?,
                FieldSegment::Key(key) => write!(f, ".{key}")?,
                FieldSegment::Index(index) => write!(f, "[{index}]")?,
                FieldSegment::Item(keys) => {
                    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={}", value.trim_matches('"'))).collect();
                    write!(f, "[{}]", keys.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// One field that will change or has changed; `None` means the field is not there.
///
/// Values under a Secret's `data` are fingerprints, never the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Which field.
    pub path: FieldPath,
    /// What is there now.
    pub before: Option<Value>,
    /// What will be there.
    pub after: Option<Value>,
}

/// Who else owns a field, as the API server's `managedFields` say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldOwner {
    /// Which field.
    pub path: FieldPath,
    /// The other manager's name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource through which it wrote (`scale`, `status`), if any.
    pub subresource: Option<String>,
    /// When it last wrote, RFC 3339, if recorded.
    pub time: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_like_a_manifest_and_find_their_value() {
        let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "spec": {"containers": [{"name": "a"}, {"name": "b", "image": "i"}]}});
        let image = FieldPath::default()
            .key("spec")
            .key("containers")
            .with(FieldSegment::Item(BTreeMap::from([("name".to_owned(), "\"b\"".to_owned())])))
            .key("image");
        assert_eq!(image.to_string(), "spec.containers[name=b].image");
        assert_eq!(image.lookup(&object), Some(&json!("i")));
        let label = FieldPath::default().key("metadata").key("labels").key("a.b/c");
        assert_eq!(label.to_string(), "metadata.labels[\"a.b/c\"]");
        assert_eq!(label.lookup(&object), Some(&json!("x")));
        let member = FieldPath::default().key("finalizers").with(FieldSegment::Item(BTreeMap::from([(String::new(), "\"a\"".to_owned())])));
        assert_eq!(member.to_string(), "finalizers[=a]");
        assert_eq!(member.lookup(&json!({"finalizers": ["b", "a"]})), Some(&json!("a")));
    }
}
