use std::time::Duration;

use provision_model::{
    Dependency, DesiredObject, Finding, Manifest, ObjectOptions, OnRemove, Origin, ReplacePolicy, ResourceId, annotations, labels,
};
use serde_json::{Map, Value as Json};

use crate::settings::parse_period;

/// Turns a rendered value into an object: marks it as ours and reads its options.
///
/// # Errors
/// Findings when it is no object or an annotation of ours can't be read.
pub(super) fn desired(mut value: Json, origin: &Origin, declared: Option<&Origin>) -> Result<DesiredObject, Vec<Finding>> {
    mark(&mut value);
    let manifest = Manifest::try_from(value)
        .map_err(|error| vec![Finding::fatal("no-object", error.to_string()).at(origin.clone()).help("every document of a template is one object")])?;
    let mut findings = Vec::new();
    let id = manifest.id();
    let mut refuse = |code: &str, message: String| findings.push(Finding::fatal(code, message).on(id.clone()).at(origin.clone()));
    let mut options = ObjectOptions::default();
    match manifest.annotation(annotations::TIMEOUT).map(|text| (text, parse_period(text))) {
        Some((_, Some(timeout))) if timeout > Duration::ZERO => options.timeout = Some(timeout),
        Some((text, _)) => refuse("bad-option", format!("`{}` is `{text}`; expected a time such as `90s`", annotations::TIMEOUT)),
        None => {}
    }
    match manifest.annotation(annotations::ON_REMOVE) {
        Some("keep") => options.on_remove = OnRemove::Keep,
        None | Some("delete") => {}
        Some(text) => refuse("bad-option", format!("`{}` is `{text}`; expected `keep` or `delete`", annotations::ON_REMOVE)),
    }
    match manifest.annotation(annotations::REPLACE) {
        Some("allowed") => options.replace = ReplacePolicy::Allowed,
        None => {}
        Some(text) => refuse("bad-option", format!("`{}` is `{text}`; expected `allowed`", annotations::REPLACE)),
    }
    let mut depends_on = Vec::new();
    let place = declared.unwrap_or(origin);
    for word in manifest.annotation(annotations::DEPENDS_ON).unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match dependency(word, manifest.namespace()) {
            Some(target) => depends_on.push(Dependency { target, origin: place.clone() }),
            None => {
                let message = format!("`{word}` names no object");
                let help = "write `Kind/name`, `Kind.group/name` or `Kind.group/namespace/name`";
                findings.push(Finding::fatal("bad-dependency", message).on(manifest.id()).at(place.clone()).help(help));
            }
        }
    }
    if findings.is_empty() { Ok(DesiredObject { manifest, origin: origin.clone(), depends_on, options }) } else { Err(findings) }
}

/// Adds the label that says who manages the object; maps of labels and annotations that are empty say nothing and go.
fn mark(value: &mut Json) {
    for pointer in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = value.pointer_mut(pointer).and_then(Json::as_object_mut) {
            for field in ["annotations", "labels"] {
                if metadata.get(field).and_then(Json::as_object).is_some_and(Map::is_empty) {
                    metadata.shift_remove(field);
                }
            }
        }
    }
    let metadata = value.get_mut("metadata").and_then(Json::as_object_mut);
    let labels = metadata.map(|metadata| metadata.entry("labels").or_insert_with(|| Json::Object(Map::new())));
    if let Some(labels) = labels.and_then(Json::as_object_mut) {
        labels.insert(labels::MANAGED_BY.to_owned(), Json::from("provision"));
    }
}

/// Reads `Kind/name`, `Kind/namespace/name`, each with `Kind.group` too; without a namespace it is that of the object.
fn dependency(text: &str, namespace: Option<&str>) -> Option<ResourceId> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, namespace, *name),
        [kind, namespace, name] => (*kind, Some(*namespace), *name),
        _ => return None,
    };
    let (kind, group) = kind.split_once('.').map_or((kind, crate::check::group_of(kind)), |(kind, group)| (kind, group));
    if kind.is_empty() || name.is_empty() || namespace.is_some_and(str::is_empty) {
        return None;
    }
    let namespace = namespace.filter(|_| !crate::check::is_cluster_scoped(kind));
    Some(match namespace {
        Some(namespace) => ResourceId::namespaced(group, kind, namespace, name),
        None => ResourceId::cluster(group, kind, name),
    })
}
