use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, GroupKind, ResourceId};

/// Annotations that the program reads or writes.
pub mod annotations {
    /// Digest of the rendered object that was applied last; written on every applied object.
    pub const DIGEST: &str = "provision.dev/digest";
    /// Release that owns the object; written on every applied object.
    pub const RELEASE: &str = "provision.dev/release";
    /// Objects that must be ready first: `Kind/name` or `Kind.group/namespace/name`, separated by commas.
    pub const DEPENDS_ON: &str = "provision.dev/depends-on";
    /// Longest time the object may take to become ready: `90s`, `5m`.
    pub const TIMEOUT: &str = "provision.dev/timeout";
    /// `keep`: the object stays when it leaves the rendered set.
    pub const ON_REMOVE: &str = "provision.dev/on-remove";
    /// Name under which people find the address of a Service's first port: `gateway`.
    pub const ENDPOINT: &str = "provision.dev/endpoint";
    /// What people should know of an object, or of a workload's pods, where it runs; shown by `plan`, `up` and `status`.
    pub const NOTICE: &str = "provision.dev/notice";
    /// `allowed`: a change of an immutable field may delete and create the object.
    pub const REPLACE: &str = "provision.dev/replace";
}

/// The name under which the program owns fields (server-side apply); the same for every release, so that ownership survives a rename.
pub const FIELD_MANAGER: &str = "provision";

/// Registry of images that are programs of this machine; they are pinned to the programs' content when they run.
pub const LOCAL_REGISTRY: &str = "provision.local/";

/// Labels that the program writes.
pub mod labels {
    /// Who manages the object; always `provision`.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
}

/// A place in an input file; line and column count from 1, in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Path relative to the project folder, with `/`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Origin {
    /// Builds a place from its parts.
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a JSON value is no manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// The value is no map.
    NotAMap,
    /// The named field is missing, empty or no text.
    Missing(&'static str),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMap => write!(f, "an object must be a map"),
            Self::Missing(field) => write!(f, "an object needs `{field}`, a text that is not empty"),
        }
    }
}

impl std::error::Error for ManifestError {}

/// A Kubernetes object as JSON.
///
/// Invariant: it is a map with non-empty `apiVersion`, `kind` and `metadata.name`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Manifest(Value);

/// Only the identity: a Secret's values must not reach a log by way of `{:?}`.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({})", self.id())
    }
}

impl TryFrom<Value> for Manifest {
    type Error = ManifestError;

    fn try_from(value: Value) -> Result<Self, ManifestError> {
        if !value.is_object() {
            return Err(ManifestError::NotAMap);
        }
        for (pointer, field) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")] {
            if value.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(ManifestError::Missing(field));
            }
        }
        Ok(Self(value))
    }
}

impl From<Manifest> for Value {
    fn from(manifest: Manifest) -> Self {
        manifest.0
    }
}

impl Manifest {
    /// Returns the object as JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Returns the text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer).and_then(Value::as_str)
    }

    /// Returns `apiVersion`: `v1`, `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    /// Returns the version part of `apiVersion`.
    pub fn version(&self) -> &str {
        self.api_version().rsplit('/').next().unwrap_or_default()
    }

    /// Returns `kind`.
    pub fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// Returns `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// Returns `metadata.namespace`.
    pub fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }

    /// Returns group and kind.
    pub fn group_kind(&self) -> GroupKind {
        let group = self.api_version().rsplit_once('/').map_or("", |(group, _)| group);
        GroupKind::new(group, self.kind())
    }

    /// Returns the identity.
    pub fn id(&self) -> ResourceId {
        ResourceId { kind: self.group_kind(), namespace: self.namespace().map(str::to_owned), name: self.name().to_owned() }
    }

    /// Returns `metadata.uid`, which only live objects have.
    pub fn uid(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    /// Returns `metadata.resourceVersion` as a number; versions of one cluster compare by size (Kubernetes 1.35, KEP-5504).
    pub fn resource_version(&self) -> Option<u64> {
        self.text("/metadata/resourceVersion")?.parse().ok()
    }

    /// Returns `metadata.generation`.
    pub fn generation(&self) -> Option<i64> {
        self.0.pointer("/metadata/generation").and_then(Value::as_i64)
    }

    /// Tells whether the object is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// Returns one annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// Returns one label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    /// Returns the entries of `metadata.managedFields`.
    pub fn managed_fields(&self) -> &[Value] {
        self.0.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Returns a copy with the annotations set.
    #[must_use]
    pub fn with_annotations(&self, annotations: &[(&str, &str)]) -> Self {
        self.with_metadata("annotations", annotations)
    }

    /// Returns a copy with the labels set.
    #[must_use]
    pub fn with_labels(&self, labels: &[(&str, &str)]) -> Self {
        self.with_metadata("labels", labels)
    }

    fn with_metadata(&self, field: &str, entries: &[(&str, &str)]) -> Self {
        let mut value = self.0.clone();
        let map = value.pointer_mut("/metadata").and_then(Value::as_object_mut).and_then(|metadata| {
            let slot = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
            if slot.is_null() {
                *slot = Value::Object(Map::new());
            }
            slot.as_object_mut()
        });
        if let Some(map) = map {
            for (name, text) in entries {
                map.insert((*name).to_owned(), Value::from(*text));
            }
        }
        Self(value)
    }

    /// Returns a copy with a top-level field set or taken out; identity fields (`apiVersion`, `kind`, `metadata`) stay as they are.
    #[must_use]
    pub fn with_field(&self, field: &str, content: Option<Value>) -> Self {
        let mut value = self.0.clone();
        if !["apiVersion", "kind", "metadata"].contains(&field) {
            set(value.as_object_mut(), field, content);
        }
        Self(value)
    }

    /// Returns a copy with a field of `metadata` set or taken out; the name stays as it is.
    #[must_use]
    pub fn with_metadata_field(&self, field: &str, content: Option<Value>) -> Self {
        let mut value = self.0.clone();
        if field != "name" {
            set(value.pointer_mut("/metadata").and_then(Value::as_object_mut), field, content);
        }
        Self(value)
    }

    /// Computes the digest of the object; map order makes no difference.
    pub fn digest(&self) -> Digest {
        Digest::of_json(&self.0)
    }
}

fn set(map: Option<&mut Map<String, Value>>, field: &str, content: Option<Value>) {
    let Some(map) = map else { return };
    match content {
        Some(content) => {
            map.insert(field.to_owned(), content);
        }
        None => {
            map.shift_remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_needs_version_kind_and_name() {
        for (value, expected) in [
            (json!([]), ManifestError::NotAMap),
            (json!({"kind": "A", "metadata": {"name": "x"}}), ManifestError::Missing("apiVersion")),
            (json!({"apiVersion": "v1", "metadata": {"name": "x"}}), ManifestError::Missing("kind")),
            (json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": ""}}), ManifestError::Missing("metadata.name")),
        ] {
            assert_eq!(Manifest::try_from(value), Err(expected));
        }
    }

    #[test]
    fn identity_leaves_the_version_out() {
        let object = |version: &str| {
            Manifest::try_from(json!({"apiVersion": version, "kind": "Deployment", "metadata": {"name": "x", "namespace": "n"}}))
        };
        assert_eq!(object("apps/v1").map(|m| m.id()), object("apps/v1beta1").map(|m| m.id()));
    }

    #[test]
    fn fields_change_but_not_the_identity() {
        let object =
            Manifest::try_from(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "uid": "u"}, "data": {}}))
                .unwrap();
        let changed = object
            .with_field("data", None)
            .with_field("kind", None)
            .with_metadata_field("uid", Some(json!("v")))
            .with_metadata_field("name", None);
        assert_eq!(changed.value(), &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "uid": "v"}}));
    }

    #[test]
    fn annotations_are_added_where_none_are() {
        let object =
            Manifest::try_from(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "annotations": null}})).unwrap();
        assert_eq!(object.with_annotations(&[("a", "b")]).annotation("a"), Some("b"));
    }
}
