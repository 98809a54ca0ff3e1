use std::time::Duration;

use provision_model::{
    Dependency, DesiredObject, Finding, Manifest, ObjectOptions, OnRemove, Origin, ReplacePolicy, ResourceId, annotations, labels,
    parse_period,
};
use serde_json::{Map, Value as Json};

use crate::pointer::escape;

/// Findings with the JSON pointers of the fields that they are about.
pub(super) type Located = Vec<(String, Finding)>;

/// Turns a rendered value into an object: marks it as ours and reads its options.
///
/// Annotations of ours that can't be read come with their JSON pointers.
///
/// # Errors
/// A finding when it is no object.
pub(super) fn desired(mut value: Json, origin: &Origin, declared: Option<&Origin>) -> Result<(DesiredObject, Located), Box<Finding>> {
    mark(&mut value);
    let manifest = Manifest::try_from(value).map_err(|error| {
        Finding::fatal("no-object", error.to_string()).at(origin.clone()).help("every document of a template is one object")
    })?;
    let mut problems = Vec::new();
    let mut refuse = |name: &str, message: String| problems.push((pointer(name), Finding::fatal("bad-option", message)));
    let mut options = ObjectOptions::default();
    match manifest.annotation(annotations::TIMEOUT).map(|text| (text, parse_period(text))) {
        Some((_, Some(timeout))) if timeout > Duration::ZERO => options.timeout = Some(timeout),
        Some((text, _)) => refuse(annotations::TIMEOUT, format!("`{}` is `{text}`; expected a time such as `90s`", annotations::TIMEOUT)),
        None => {}
    }
    match manifest.annotation(annotations::ON_REMOVE) {
        Some("keep") => options.on_remove = OnRemove::Keep,
        None | Some("delete") => {}
        Some(text) => refuse(annotations::ON_REMOVE, format!("`{}` is `{text}`; expected `keep` or `delete`", annotations::ON_REMOVE)),
    }
    match manifest.annotation(annotations::REPLACE) {
        Some("allowed") => options.replace = ReplacePolicy::Allowed,
        None => {}
        Some(text) => refuse(annotations::REPLACE, format!("`{}` is `{text}`; expected `allowed`", annotations::REPLACE)),
    }
    let mut depends_on = Vec::new();
    let place = declared.unwrap_or(origin);
    for word in manifest.annotation(annotations::DEPENDS_ON).unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match dependency(word, manifest.namespace()) {
            Some(target) => depends_on.push(Dependency { target, origin: place.clone() }),
            None => {
                let help = "write `Kind/name`, `Kind.group/name` or `Kind.group/namespace/name`";
                let finding = Finding::fatal("bad-dependency", format!("`{word}` names no object")).help(help);
                problems.push((pointer(annotations::DEPENDS_ON), finding));
            }
        }
    }
    Ok((DesiredObject { manifest, origin: origin.clone(), depends_on, options }, problems))
}

fn pointer(annotation: &str) -> String {
    format!("/metadata/annotations/{}", escape(annotation))
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
