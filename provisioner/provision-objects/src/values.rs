//! The part of an object that its writers decide, apart from the part that the server decides.

use provision_model::ResourceId;
use serde_json::{Map, Value};

/// Metadata that only the server writes, and the identity.
const SYSTEM: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Returns what writers decide: no identity, no system metadata, no nulls.
pub(crate) fn content(value: &Value) -> Value {
    let mut map = without_nulls(value);
    if let Some(map) = map.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
        let hollow = map.get_mut("metadata").and_then(Value::as_object_mut).is_some_and(|metadata| {
            metadata.retain(|name, _| !SYSTEM.contains(&name.as_str()));
            metadata.is_empty()
        });
        if hollow {
            map.shift_remove("metadata");
        }
    }
    map
}

/// Puts an object together from its content and what the server had decided before.
pub(crate) fn assemble(id: &ResourceId, api_version: &str, live: Option<&Value>, content: &Value) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), Value::from(id.name.as_str()));
    if let Some(namespace) = &id.namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
    }
    for name in &SYSTEM[2..] {
        if let Some(value) = live.and_then(|live| live["metadata"].get(name)) {
            metadata.insert((*name).to_owned(), value.clone());
        }
    }
    if let Some(own) = content.get("metadata").and_then(Value::as_object) {
        metadata.extend(own.clone());
    }
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(id.kind.kind.as_str()));
    object.insert("metadata".to_owned(), Value::Object(metadata));
    for (name, value) in content.as_object().into_iter().flatten() {
        if name != "metadata" {
            object.insert(name.clone(), value.clone());
        }
    }
    Value::Object(object)
}

/// Sets or removes a field at the root.
pub(crate) fn set(value: &mut Value, name: &str, field: Option<Value>) {
    if let Some(map) = value.as_object_mut() {
        match field {
            Some(field) => {
                map.insert(name.to_owned(), field);
            }
            None => {
                map.shift_remove(name);
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, child)| !child.is_null());
            Value::Object(kept.map(|(name, child)| (name.clone(), without_nulls(child))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
