//! Whether the cluster serves what is wanted.

use std::collections::HashMap;

use provision_model::{ApiSurface, Desired, DesiredObject, Finding, GroupKind, Manifest};
use serde_json::Value;

use crate::edges::defined_kind;

/// Finds wanted objects of kinds or versions that neither the cluster serves nor a definition in the set will.
pub(crate) fn check(desired: &Desired, api: &ApiSurface) -> Vec<Finding> {
    let defined: HashMap<GroupKind, Vec<&str>> =
        desired.objects.iter().filter_map(|object| Some((defined_kind(&object.manifest)?, defined_versions(&object.manifest)))).collect();
    desired.objects.iter().filter_map(|object| check_one(object, api, &defined)).collect()
}

fn check_one(object: &DesiredObject, api: &ApiSurface, defined: &HashMap<GroupKind, Vec<&str>>) -> Option<Finding> {
    let (manifest, id) = (&object.manifest, object.id());
    let finding = |code: &str, message: String| Finding::fatal(code, message).on(id.clone()).at(object.origin.clone());
    if defined.get(&id.kind).is_some_and(|versions| versions.contains(&manifest.version())) {
        return None;
    }
    match api.find(&id.kind, Some(manifest.version())) {
        Some(resource) if resource.namespaced && id.namespace.is_none() => {
            Some(finding("namespace-missing", format!("{id} needs `metadata.namespace`")))
        }
        Some(resource) if !resource.namespaced && id.namespace.is_some() => {
            Some(finding("namespace-refused", format!("{id} can't have `metadata.namespace`: {} lives outside of namespaces", id.kind)))
        }
        Some(_) => None,
        None => {
            let mut versions = defined.get(&id.kind).cloned().unwrap_or_default();
            versions.extend(api.versions(&id.kind));
            let help = match versions.as_slice() {
                [] => format!("install what defines {}, or take the object out", id.kind),
                versions => format!("served versions of {}: {}", id.kind, versions.join(", ")),
            };
            let message = format!("the cluster does not serve {} in version `{}`, as {id} is written", id.kind, manifest.api_version());
            Some(finding("kind-not-served", message).help(help))
        }
    }
}

fn defined_versions(definition: &Manifest) -> Vec<&str> {
    let versions = definition.value().pointer("/spec/versions").and_then(Value::as_array);
    let served = versions.into_iter().flatten().filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false));
    served.filter_map(|version| version.get("name")?.as_str()).collect()
}
