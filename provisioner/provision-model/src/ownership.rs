//! The fields that one writer owns in a live object, and their values.
//!
//! Ownership is read from `fieldsV1`: a tree of maps whose keys are `f:name` (key of a map), `k:{...}` (item of a list that merges by
//! key), `v:...` (member of a set), `i:n` (place in a list) and `.` (the element itself); an empty map is a leaf. Paths are compared
//! parsed, never as text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{FieldOwner, FieldPath, FieldSegment, Manifest};

/// Returns what `manager` owns through server-side apply, without a subresource, as `fieldsV1`; an empty map when nothing.
pub fn owned_fields(live: &Manifest, manager: &str) -> Value {
    live.managed_fields()
        .iter()
        .filter(|entry| is_apply_of(entry, manager))
        .filter_map(|entry| entry.get("fieldsV1"))
        .fold(Value::Object(Map::new()), |all, fields| union(&all, fields))
}

/// Returns the values of `fields` in `live`, as a tree with the keys of `fields`; what is not there is left out.
///
/// Two projections with the same `fields` are comparable: the fields of others, their items between ours and their defaults make no
/// difference. Items stand in the order that they have in `live`.
pub fn project(live: &Manifest, fields: &Value) -> Value {
    let others: Vec<&Value> = live.managed_fields().iter().filter_map(|entry| entry.get("fieldsV1")).collect();
    match fields.as_object() {
        Some(keys) if !keys.is_empty() => project_children(live.value(), keys, &others),
        _ => Value::Object(Map::new()),
    }
}

/// `others` are the nodes of all writers at the same path.
fn project_children(value: &Value, keys: &Map<String, Value>, others: &[&Value]) -> Value {
    let mut found: Vec<(usize, String, Value)> = Vec::with_capacity(keys.len());
    for (key, below) in keys {
        let Some(segment) = segment(key) else {
            if key == "." {
                found.push((0, key.clone(), Value::Bool(true)));
            }
            continue;
        };
        let Some(child) = step(value, &segment) else { continue };
        let place = value.as_array().and_then(|items| items.iter().position(|item| std::ptr::eq(item, child)));
        let nodes: Vec<&Value> = others.iter().filter_map(|node| node_at(node, &segment)).collect();
        let projected = match below.as_object() {
            Some(keys) if !keys.is_empty() => project_children(child, keys, &nodes),
            _ => leaf(child, &nodes),
        };
        found.push((place.unwrap_or(0), key.clone(), projected));
    }
    found.sort_by_key(|(place, _, _)| *place);
    Value::Object(found.into_iter().map(|(_, key, projected)| (key, projected)).collect())
}

/// A leaf that is a map or a list is taken whole, unless somebody owns single parts of it: then ours is only that it exists.
fn leaf(value: &Value, nodes: &[&Value]) -> Value {
    let in_parts = nodes.iter().any(|node| node.as_object().is_some_and(|keys| keys.keys().any(|key| key != ".")));
    match value {
        Value::Object(_) if in_parts => Value::Object(Map::new()),
        Value::Array(_) if in_parts => Value::Array(Vec::new()),
        whole => whole.clone(),
    }
}

/// Lists who else owns fields of `fields`: every writer but server-side apply by `manager`.
pub fn foreign_owners(live: &Manifest, fields: &Value, manager: &str) -> Vec<FieldOwner> {
    owners_of(live, &leaf_paths(fields), manager)
}

/// Lists the paths that a `fieldsV1` holds, each to its end.
pub fn leaf_paths(fields: &Value) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    leaves(fields, &FieldPath::default(), &mut paths);
    paths
}

/// Lists who else owns one of `paths`, or something below or a whole above it.
pub fn owners_of(live: &Manifest, paths: &[FieldPath], manager: &str) -> Vec<FieldOwner> {
    let mut owners = Vec::new();
    for path in paths {
        for entry in live.managed_fields().iter().filter(|entry| !is_apply_of(entry, manager)) {
            if entry.get("fieldsV1").is_some_and(|fields| covers(fields, path)) {
                owners.push(owner(entry, path.clone()));
            }
        }
    }
    owners
}

/// Tells whether a `fieldsV1` holds the path or a whole above it.
pub fn covers(fields: &Value, path: &FieldPath) -> bool {
    let mut node = fields;
    for (depth, segment) in path.0.iter().enumerate() {
        match node_at(node, segment) {
            Some(below) => node = below,
            None => return depth > 0 && node.as_object().is_some_and(Map::is_empty),
        }
    }
    true
}

/// Returns `fields` without the field at `path` (keys of maps), and without what is empty then: an emptied map would look like a leaf.
pub fn without(fields: &Value, path: &[&str]) -> Value {
    let mut fields = fields.clone();
    cut(&mut fields, path);
    fields
}

/// Tells whether nothing is left.
fn cut(fields: &mut Value, path: &[&str]) -> bool {
    let (Some((first, rest)), Some(keys)) = (path.split_first(), fields.as_object_mut()) else { return path.is_empty() };
    let key = format!("f:{first}");
    if keys.get_mut(&key).is_some_and(|below| cut(below, rest)) {
        keys.shift_remove(&key);
        return keys.keys().all(|key| key == ".");
    }
    false
}

/// Joins two sets of fields.
pub fn union(left: &Value, right: &Value) -> Value {
    let mut joined = join(left, right);
    // At the root an empty map is no leaf: it owns nothing.
    if let Some(keys) = joined.as_object_mut() {
        keys.shift_remove(".");
    }
    joined
}

fn join(left: &Value, right: &Value) -> Value {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else { return left.clone() };
    let mut out = left.clone();
    if left.is_empty() != right.is_empty() {
        out.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for (key, below) in right {
        let joined = out.get(key).map_or_else(|| below.clone(), |mine| join(mine, below));
        out.insert(key.clone(), joined);
    }
    Value::Object(out)
}

/// Parses one key of a `fieldsV1`; `None` for `.` and what is no path element.
pub fn segment(key: &str) -> Option<FieldSegment> {
    let (form, text) = key.split_once(':')?;
    match form {
        "f" => Some(FieldSegment::Key(text.to_owned())),
        "i" => text.parse().ok().map(FieldSegment::Index),
        "v" => {
            let value: Value = serde_json::from_str(text).ok()?;
            Some(FieldSegment::Item(BTreeMap::from([(String::new(), value.to_string())])))
        }
        "k" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
            Some(FieldSegment::Item(keys.into_iter().map(|(key, value)| (key, value.to_string())).collect()))
        }
        _ => None,
    }
}

fn step<'v>(value: &'v Value, segment: &FieldSegment) -> Option<&'v Value> {
    match segment {
        FieldSegment::Key(key) => value.get(key),
        FieldSegment::Index(_) | FieldSegment::Item(_) => FieldPath(vec![segment.clone()]).lookup(value),
    }
}

fn node_at<'f>(node: &'f Value, wanted: &FieldSegment) -> Option<&'f Value> {
    let keys = node.as_object()?;
    match wanted {
        FieldSegment::Key(name) => keys.get(&format!("f:{name}")),
        FieldSegment::Index(_) | FieldSegment::Item(_) => {
            keys.iter().find(|(key, _)| segment(key).as_ref() == Some(wanted)).map(|(_, below)| below)
        }
    }
}

fn leaves(fields: &Value, path: &FieldPath, out: &mut Vec<FieldPath>) {
    for (key, below) in fields.as_object().into_iter().flatten() {
        let Some(segment) = segment(key) else { continue };
        let path = path.with(segment);
        if below.as_object().is_none_or(Map::is_empty) {
            out.push(path);
        } else {
            leaves(below, &path, out);
        }
    }
}

fn is_apply_of(entry: &Value, manager: &str) -> bool {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty()
}

fn owner(entry: &Value, path: FieldPath) -> FieldOwner {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    FieldOwner {
        path,
        manager: text("manager").unwrap_or_else(|| "unknown".to_owned()),
        operation: text("operation").unwrap_or_else(|| "Update".to_owned()),
        subresource: text("subresource"),
        time: text("time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(managed: &Value) -> Manifest {
        Manifest::try_from(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "finalizers": ["b", "a"], "labels": {"a": "1", "theirs": "2"}, "managedFields": managed},
            "spec": {"replicas": 3, "paused": false, "selector": {"matchLabels": {"a": "1"}}, "ports": [
                {"containerPort": 80, "protocol": "UDP", "name": "other"},
                {"containerPort": 80, "protocol": "TCP", "name": "web", "defaulted": true}]}
        }))
        .unwrap()
    }

    fn fields() -> Value {
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:gone": {}}, "f:finalizers": {"v:\"a\"": {}, "v:\"z\"": {}}},
            "f:spec": {"f:selector": {}, "f:ports": {"k:{\"protocol\":\"TCP\",\"containerPort\":80}": {".": {}, "f:name": {}}}}
        })
    }

    #[test]
    fn a_projection_holds_our_fields_and_nothing_else() {
        assert_eq!(
            project(&live(&json!([])), &fields()),
            json!({
                "f:metadata": {"f:labels": {".": true, "f:a": "1"}, "f:finalizers": {"v:\"a\"": "a"}},
                "f:spec": {
                    "f:selector": {"matchLabels": {"a": "1"}},
                    "f:ports": {"k:{\"protocol\":\"TCP\",\"containerPort\":80}": {".": true, "f:name": "web"}}
                }
            })
        );
        assert_eq!(project(&live(&json!([])), &json!({})), json!({}));
    }

    #[test]
    fn items_stand_in_the_order_of_the_list() {
        let item = |protocol: &str| format!("k:{}", json!({"containerPort": 80, "protocol": protocol}));
        let both = json!({"f:spec": {"f:ports": {item("TCP"): {"f:name": {}}, item("UDP"): {"f:name": {}}}}});
        let projected = project(&live(&json!([])), &both);
        let order: Vec<String> = projected["f:spec"]["f:ports"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
        assert_eq!(order, [item("UDP"), item("TCP")]);
    }

    #[test]
    fn an_empty_map_of_ours_does_not_hold_what_others_put_into_it() {
        let others = live(&json!([{"manager": "m", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}}]));
        let ours = json!({"f:metadata": {"f:labels": {}}});
        assert_eq!(project(&others, &ours), json!({"f:metadata": {"f:labels": {}}}));
    }

    #[test]
    fn only_apply_without_a_subresource_is_ours() {
        let entry = |operation: &str, subresource: &str, field: &str| {
            let fields = json!({"f:spec": {field: {}}});
            json!({"manager": "provision", "operation": operation, "subresource": subresource, "fieldsV1": fields})
        };
        let object = live(&json!([entry("Apply", "", "f:a"), entry("Update", "", "f:b"), entry("Apply", "scale", "f:c")]));
        assert_eq!(owned_fields(&object, "provision"), json!({"f:spec": {"f:a": {}}}));
        assert_eq!(owned_fields(&object, "other"), json!({}));
    }

    #[test]
    fn owners_are_matched_by_parsed_path() {
        let object = live(&json!([
            {"manager": "provision", "operation": "Apply", "fieldsV1": fields()},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T03:04:05Z",
             "fieldsV1": {"f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {"f:name": {}}}, "f:selectorX": {}}}},
            {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]));
        let found = foreign_owners(&object, &fields(), "provision");
        let shown: Vec<String> = found.iter().map(|owner| format!("{} {} {:?}", owner.path, owner.manager, owner.time)).collect();
        assert_eq!(shown, ["spec.ports[containerPort=80,protocol=TCP].name kubectl-edit Some(\"2026-01-02T03:04:05Z\")"]);
        let replicas = foreign_owners(&object, &json!({"f:spec": {"f:replicas": {}}}), "provision");
        assert_eq!(replicas.first().and_then(|owner| owner.subresource.as_deref()), Some("scale"));
    }

    #[test]
    fn a_whole_that_somebody_owns_covers_what_is_in_it() {
        let selector = FieldPath::default().key("spec").key("selector");
        assert!(covers(&fields(), &selector.key("matchLabels")));
        assert!(covers(&fields(), &FieldPath::default().key("spec")));
        assert!(!covers(&fields(), &FieldPath::default().key("spec").key("replicas")));
        assert!(!covers(&json!({}), &selector));
    }

    #[test]
    fn a_field_is_cut_out_with_what_is_empty_then() {
        let fields =
            json!({"f:metadata": {"f:annotations": {".": {}, "f:a/b": {}}, "f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}}});
        let annotation = without(&fields, &["metadata", "annotations", "a/b"]);
        assert_eq!(annotation, json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}}}));
        assert_eq!(without(&annotation, &["spec", "replicas"]), json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
        assert_eq!(without(&annotation, &["spec", "other"]), annotation);
    }

    #[test]
    fn joined_fields_hold_both() {
        let leaf = json!({"f:a": {}});
        let deep = json!({"f:a": {"f:b": {}}, "f:c": {}});
        let joined = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}});
        assert_eq!(union(&leaf, &deep), joined);
        assert_eq!(union(&deep, &leaf), json!({"f:a": {"f:b": {}, ".": {}}, "f:c": {}}));
        assert_eq!(union(&json!({}), &deep), deep);
    }
}
