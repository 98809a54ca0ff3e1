//! The two halves of server-side apply on values: put in what is applied, take out what is applied no more.

use provision_model::GroupKind;
use serde_json::Value;

use crate::fields::{FieldSet, Segment};
use crate::topology::{Shape, segment_of, shape};

/// Puts the applied object over the live one.
pub(crate) fn merge<'v>(kind: &GroupKind, live: &Value, applied: &'v Value, path: &mut Vec<&'v str>) -> Value {
    let shape = shape(kind, path, applied);
    match (live, applied) {
        (Value::Object(old), Value::Object(new)) if shape == Shape::Granular => {
            let mut merged = old.clone();
            for (name, child) in new {
                path.push(name);
                let value = old.get(name).map_or_else(|| child.clone(), |before| merge(kind, before, child, path));
                path.pop();
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) if matches!(shape, Shape::Keyed(_) | Shape::Set) => {
            Value::Array(merge_items(kind, (old, new), shape, path))
        }
        _ => applied.clone(),
    }
}

/// Applied items in their order, with items of others behind the item that they followed.
fn merge_items<'v>(kind: &GroupKind, (old, new): (&[Value], &'v [Value]), shape: Shape, path: &mut Vec<&'v str>) -> Vec<Value> {
    let key = |item: &Value| segment_of(item, shape);
    let wanted: Vec<Option<Segment>> = new.iter().map(key).collect();
    let mut merged: Vec<Value> = Vec::new();
    let mut foreign = old.iter().filter(|item| !wanted.contains(&key(item))).peekable();
    for item in new {
        match old.iter().find(|before| key(before) == key(item)) {
            Some(before) => {
                let place = |wanted: &Value| old.iter().position(|item| std::ptr::eq(item, wanted));
                while let Some(other) = foreign.next_if(|other| place(other) < place(before)) {
                    merged.push(other.clone());
                }
                merged.push(merge(kind, before, item, path));
            }
            None => merged.push(item.clone()),
        }
    }
    merged.extend(foreign.cloned());
    merged
}

/// Takes out of `value` what is in `last` and no longer in `keep`.
pub(crate) fn prune(kind: &GroupKind, value: &mut Value, last: &FieldSet, keep: &FieldSet, path: &mut Vec<String>) {
    for (segment, below) in last.steps() {
        let kept = keep.below(segment);
        if let Segment::Field(name) = segment {
            path.push(name.clone());
        }
        match (kept, find(kind, value, segment, path)) {
            (Some(kept), Some(child)) => prune(kind, child, below, kept, path),
            (None, Some(_)) => remove(kind, value, segment, path),
            (_, None) => {}
        }
        if matches!(segment, Segment::Field(_)) {
            path.pop();
        }
    }
}

fn find<'v>(kind: &GroupKind, value: &'v mut Value, segment: &Segment, path: &[String]) -> Option<&'v mut Value> {
    match segment {
        Segment::Field(name) => value.get_mut(name),
        Segment::Key(_) | Segment::Value(_) => {
            let shape = shape_at(kind, path, value);
            value.as_array_mut()?.iter_mut().find(|item| segment_of(item, shape).as_ref() == Some(segment))
        }
    }
}

fn remove(kind: &GroupKind, value: &mut Value, segment: &Segment, path: &[String]) {
    let shape = shape_at(kind, path, value);
    match (value, segment) {
        (Value::Object(map), Segment::Field(name)) => {
            map.shift_remove(name);
        }
        (Value::Array(items), Segment::Key(_) | Segment::Value(_)) => {
            items.retain(|item| segment_of(item, shape).as_ref() != Some(segment))
        }
        _ => {}
    }
}

fn shape_at(kind: &GroupKind, path: &[String], value: &Value) -> Shape {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    shape(kind, &path, value)
}
