//! Differences between two states of an object, field by field.

use std::collections::BTreeMap;

use provision_model::{FieldChange, FieldPath, FieldSegment, Manifest, SecretRef};
use serde_json::{Map, Value};

use provision_model::ownership::segment;

/// Lists where two projections of the same `fields` differ.
pub(crate) fn projections(before: &Value, after: &Value, fields: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    children(Sides { before: Some(before), after: Some(after) }, fields, &FieldPath::default(), &mut changes);
    changes
}

#[derive(Clone, Copy)]
struct Sides<'v> {
    before: Option<&'v Value>,
    after: Option<&'v Value>,
}

impl<'v> Sides<'v> {
    fn at(self, key: &str) -> Self {
        Self { before: self.before.and_then(|value| value.get(key)), after: self.after.and_then(|value| value.get(key)) }
    }

    fn each(self, change: impl Fn(&'v Value) -> Value) -> (Option<Value>, Option<Value>) {
        (self.before.map(&change), self.after.map(&change))
    }
}

fn children(sides: Sides<'_>, fields: &Value, path: &FieldPath, out: &mut Vec<FieldChange>) {
    out.extend(reordered_items(sides, path));
    for (key, below) in fields.as_object().into_iter().flatten() {
        let Some(segment) = segment(key) else { continue };
        let (sides, path) = (sides.at(key), path.with(segment));
        let leaf = below.as_object().is_none_or(Map::is_empty);
        match (sides.before, sides.after) {
            (None, None) => {}
            (Some(before), Some(after)) if leaf => values(before, after, &path, out),
            (Some(_), Some(_)) => children(sides, below, &path, out),
            (None, _) | (_, None) => {
                let (before, after) = sides.each(|value| rebuilt(value, below));
                out.push(FieldChange { path, before, after });
            }
        }
    }
}

/// Says when the keyed items that are on both sides stand in another order: containers start and variables refer in that order.
fn reordered_items(sides: Sides<'_>, path: &FieldPath) -> Option<FieldChange> {
    let (before, after) = (sides.before?.as_object()?, sides.after?.as_object()?);
    let shared = |of: &Map<String, Value>| -> Vec<Value> {
        let both = of.keys().filter(|key| before.contains_key(*key) && after.contains_key(*key));
        both.filter_map(|key| serde_json::from_str(key.strip_prefix("k:")?).ok()).collect()
    };
    reordered(shared(before), shared(after), path)
}

fn reordered(before: Vec<Value>, after: Vec<Value>, path: &FieldPath) -> Option<FieldChange> {
    let change = |before, after| FieldChange { path: path.clone(), before: Some(Value::Array(before)), after: Some(Value::Array(after)) };
    (before != after).then(|| change(before, after))
}

/// Turns a projection back into the plain value that it stands for.
fn rebuilt(projection: &Value, fields: &Value) -> Value {
    let Some(keys) = fields.as_object().filter(|keys| !keys.is_empty()) else { return projection.clone() };
    let mut map = Map::new();
    let mut items = Vec::new();
    for (key, below) in keys {
        let Some(value) = projection.get(key).map(|value| rebuilt(value, below)) else { continue };
        match segment(key) {
            Some(FieldSegment::Key(name)) => {
                map.insert(name, value);
            }
            Some(FieldSegment::Index(_) | FieldSegment::Item(_)) => items.push(value),
            None => {}
        }
    }
    if items.is_empty() { Value::Object(map) } else { Value::Array(items) }
}

/// Lists where two plain values differ: maps key by key, lists of named maps by name, everything else as a whole.
pub(crate) fn values(before: &Value, after: &Value, path: &FieldPath, out: &mut Vec<FieldChange>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(left), Value::Object(right)) if SecretRef::from_value(before).or(SecretRef::from_value(after)).is_none() => {
            let sides = |key: &String| (left.get(key), right.get(key));
            for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
                pair(sides(key), path.key(key), out);
            }
        }
        (Value::Array(left), Value::Array(right)) => match (by_name(left), by_name(right)) {
            (Some(named_left), Some(named_right)) => {
                let shared = |of: &[Value]| -> Vec<Value> {
                    let names = of.iter().filter_map(|item| item.get("name")?.as_str());
                    let both = names.filter(|name| named_left.contains_key(name) && named_right.contains_key(name));
                    both.map(|name| serde_json::json!({ "name": name })).collect()
                };
                out.extend(reordered(shared(left), shared(right), path));
                let (left, right) = (named_left, named_right);
                let mut names: Vec<&str> = left.keys().chain(right.keys()).copied().collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    let key = BTreeMap::from([("name".to_owned(), Value::from(name).to_string())]);
                    pair((left.get(name).copied(), right.get(name).copied()), path.with(FieldSegment::Item(key)), out);
                }
            }
            _ => out.push(FieldChange { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()) }),
        },
        _ => out.push(FieldChange { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

/// Hides what should be a fingerprint and is none, in case a reader forgot one.
pub(crate) fn masked(manifest: &Manifest, mut diff: Vec<FieldChange>) -> Vec<FieldChange> {
    if manifest.kind() == "Secret" {
        let data = [FieldPath::default().key("data"), FieldPath::default().key("stringData")];
        for change in diff.iter_mut().filter(|change| data.iter().any(|data| change.path.0.starts_with(&data.0))) {
            change.before.iter_mut().chain(&mut change.after).for_each(hide);
        }
    }
    diff
}

fn hide(value: &mut Value) {
    if SecretRef::from_value(value).is_some() {
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(hide),
        Value::String(text) if text.starts_with("fp:") => {}
        other => *other = Value::from("(hidden)"),
    }
}

fn pair(sides: (Option<&Value>, Option<&Value>), path: FieldPath, out: &mut Vec<FieldChange>) {
    match sides {
        (Some(before), Some(after)) => values(before, after, &path, out),
        (before, after) => out.push(FieldChange { path, before: before.cloned(), after: after.cloned() }),
    }
}

fn by_name(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let named: BTreeMap<&str, &Value> = items.iter().filter_map(|item| Some((item.get("name")?.as_str()?, item))).collect();
    (named.len() == items.len()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(changes: &[FieldChange]) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
        changes.iter().map(|change| format!("{}: {} -> {}", change.path, text(&change.before), text(&change.after))).collect()
    }

    #[test]
    fn projections_differ_by_leaf_and_an_item_that_goes_is_one_change() {
        let fields = json!({"f:spec": {"f:c": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}}}, "f:r": {}, "f:m": {}}});
        let before =
            json!({"f:spec": {"f:c": {"k:{\"name\":\"a\"}": {".": true, "f:name": "a", "f:image": "i"}}, "f:r": 1, "f:m": {"x": 1}}});
        let after = json!({"f:spec": {"f:c": {}, "f:r": 2, "f:m": {"x": 2}}});
        assert_eq!(
            shown(&projections(&before, &after, &fields)),
            ["spec.c[name=a]: {\"name\":\"a\",\"image\":\"i\"} -> -", "spec.r: 1 -> 2", "spec.m.x: 1 -> 2"]
        );
        assert_eq!(shown(&projections(&before, &before, &fields)), [""; 0]);
    }

    #[test]
    fn another_order_of_keyed_items_is_a_change_and_of_a_set_none() {
        let items = |names: [&str; 2]| json!({"f:c": Value::from_iter(names.map(|name| (name, json!({}))))});
        let [a, b] = ["k:{\"name\":\"a\"}", "k:{\"name\":\"b\"}"];
        let fields = items([a, b]);
        assert_eq!(
            shown(&projections(&items([a, b]), &items([b, a]), &fields)),
            ["c: [{\"name\":\"a\"},{\"name\":\"b\"}] -> [{\"name\":\"b\"},{\"name\":\"a\"}]"]
        );
        assert_eq!(shown(&projections(&items([a, b]), &json!({"f:c": {b: {}}}), &fields)), ["c[name=a]: {} -> -"]);
        assert_eq!(shown(&projections(&items(["v:1", "v:2"]), &items(["v:2", "v:1"]), &items(["v:1", "v:2"]))), [""; 0]);
    }

    #[test]
    fn plain_values_differ_by_key_and_by_name() {
        let mut changes = Vec::new();
        let before = json!({"a": [{"name": "x", "v": 1}, {"name": "y"}], "b": [1, 2], "gone": true});
        let after = json!({"a": [{"name": "y"}, {"name": "x", "v": 2}, {"name": "z"}], "b": [2, 1], "new": null});
        values(&before, &after, &FieldPath::default(), &mut changes);
        assert_eq!(
            shown(&changes),
            [
                "a: [{\"name\":\"x\"},{\"name\":\"y\"}] -> [{\"name\":\"y\"},{\"name\":\"x\"}]",
                "a[name=x].v: 1 -> 2",
                "a[name=z]: - -> {\"name\":\"z\"}",
                "b: [1,2] -> [2,1]",
                "gone: true -> -",
                "new: - -> null"
            ]
        );
    }
}
