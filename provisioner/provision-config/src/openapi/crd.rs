//! Schemas of custom resources, compiled from their definitions when a resource of the kind is first met.

mod compile;

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::Value;

pub(super) use compile::{Compiled, Version};

/// The API version of the definitions that are read.
pub(super) const API_VERSION: &str = "apiextensions.k8s.io/v1";
/// The kind of the definitions that are read.
pub(super) const KIND: &str = "CustomResourceDefinition";

/// One definition of a custom resource.
#[derive(Debug)]
pub(super) struct Crd<'v> {
    pub(super) group: String,
    pub(super) kind: String,
    value: Cow<'v, Value>,
    compiled: OnceLock<Compiled>,
}

impl<'v> Crd<'v> {
    /// Reads group and kind; the error says what is wrong with the definition.
    pub(super) fn read(value: Cow<'v, Value>) -> Result<Self, String> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("/metadata/name").unwrap_or("without a name");
        if text("/kind") != Some(KIND) {
            return Err(format!(
                "an object among the custom resource definitions is none: {} {name}",
                text("/kind").unwrap_or("an object")
            ));
        }
        if text("/apiVersion") != Some(API_VERSION) {
            let version = text("/apiVersion").unwrap_or("no apiVersion");
            return Err(format!("the definition {name} has {version}; only {API_VERSION} is read"));
        }
        let required =
            |pointer: &str, field: &str| text(pointer).map(str::to_owned).ok_or_else(|| format!("the definition {name} needs `{field}`"));
        let (group, kind) = (required("/spec/group", "spec.group")?, required("/spec/names/kind", "spec.names.kind")?);
        Ok(Self { group, kind, value, compiled: OnceLock::new() })
    }

    /// Returns `metadata.name`.
    pub(super) fn name(&self) -> &str {
        self.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the compiled schemas.
    pub(super) fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| Compiled::of(&self.value))
    }
}

impl Compiled {
    /// Finds a version by name.
    pub(super) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// Lists the versions that the API server serves.
    pub(super) fn served(&self) -> Vec<&str> {
        self.versions.iter().filter(|version| version.served).map(|version| version.name.as_str()).collect()
    }
}
