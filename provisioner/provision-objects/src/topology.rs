//! How a field merges in server-side apply: field by field, item by item, or as a whole.

use std::collections::BTreeMap;

use provision_model::{GroupKind, canonical_json};
use serde_json::Value;

use crate::fields::Segment;
use crate::surface::is_built_in;

/// How the value at a path merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A map, field by field.
    Granular,
    /// As a whole.
    Atomic,
    /// A list whose items are told apart by these fields.
    Keyed(&'static [&'static str]),
    /// A list of distinct plain values.
    Set,
}

/// Tells how `value`, found at `path` (field names only, list items left out), merges.
pub(crate) fn shape(kind: &GroupKind, path: &[&str], value: &Value) -> Shape {
    match value {
        Value::Array(items) => match list_shape(kind, path) {
            Shape::Keyed(keys) if items.iter().any(|item| !item.is_object() || key_of(item, keys).is_none()) => Shape::Atomic,
            shape => shape,
        },
        Value::Object(_) if is_atomic_map(kind, path) => Shape::Atomic,
        Value::Object(_) => Shape::Granular,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Atomic,
    }
}

fn list_shape(kind: &GroupKind, path: &[&str]) -> Shape {
    let [.., last] = path else { return Shape::Atomic };
    let parent = path.len().checked_sub(2).map_or("", |place| path[place]);
    if path == ["metadata", "ownerReferences"] {
        return Shape::Keyed(&["uid"]);
    }
    if path == ["metadata", "finalizers"] {
        return Shape::Set;
    }
    if *last == "conditions" && parent == "status" {
        return Shape::Keyed(&["type"]);
    }
    if !is_built_in(&kind.group) {
        return Shape::Atomic;
    }
    let in_container = matches!(parent, "containers" | "initContainers" | "ephemeralContainers");
    match *last {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" if parent == "spec" => Shape::Keyed(&["name"]),
        "env" if in_container => Shape::Keyed(&["name"]),
        "volumeMounts" if in_container => Shape::Keyed(&["mountPath"]),
        "volumeDevices" if in_container => Shape::Keyed(&["devicePath"]),
        "ports" if in_container => Shape::Keyed(&["containerPort", "protocol"]),
        "ports" if kind.kind == "Service" && parent == "spec" => Shape::Keyed(&["port", "protocol"]),
        "imagePullSecrets" if parent == "spec" => Shape::Keyed(&["name"]),
        "hostAliases" if parent == "spec" => Shape::Keyed(&["ip"]),
        "topologySpreadConstraints" if parent == "spec" => Shape::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "secrets" if kind.kind == "ServiceAccount" => Shape::Keyed(&["name"]),
        "webhooks" => Shape::Keyed(&["name"]),
        _ => Shape::Atomic,
    }
}

fn is_atomic_map(kind: &GroupKind, path: &[&str]) -> bool {
    let [.., last] = path else { return false };
    is_built_in(&kind.group)
        && path.first() != Some(&"metadata")
        && matches!(
            *last,
            "selector"
                | "labelSelector"
                | "podSelector"
                | "namespaceSelector"
                | "objectSelector"
                | "nodeSelector"
                | "secretKeyRef"
                | "configMapKeyRef"
                | "fieldRef"
                | "resourceFieldRef"
                | "secretRef"
                | "roleRef"
                | "scaleTargetRef"
                | "openAPIV3Schema"
        )
}

/// Names an item of a list that merges item by item; `None` when a key is missing.
pub(crate) fn segment_of(item: &Value, shape: Shape) -> Option<Segment> {
    match shape {
        Shape::Keyed(keys) => key_of(item, keys).map(Segment::Key),
        Shape::Set => Some(Segment::Value(item.to_string())),
        Shape::Granular | Shape::Atomic => None,
    }
}

fn key_of(item: &Value, keys: &[&str]) -> Option<String> {
    let mut found = BTreeMap::new();
    for key in keys {
        let value = match item.get(key) {
            Some(value) => value.clone(),
            None if *key == "protocol" => Value::from("TCP"),
            None => return None,
        };
        found.insert((*key).to_owned(), value);
    }
    Some(canonical_json(&Value::from_iter(found)))
}
