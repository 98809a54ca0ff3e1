//! Sets of fields in the form of `fieldsV1`.

use std::collections::BTreeMap;

use provision_model::GroupKind;
use serde_json::{Map, Value};

use crate::topology::{Shape, segment_of, shape};

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// A field.
    Field(String),
    /// An item by its keys, JSON text.
    Key(String),
    /// An item by itself, JSON text.
    Value(String),
}

/// A set of fields, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    member: bool,
    children: BTreeMap<Segment, FieldSet>,
}

impl FieldSet {
    /// Tells whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Returns what is below a step, if anything.
    pub(crate) fn below(&self, segment: &Segment) -> Option<&Self> {
        self.children.get(segment).filter(|child| !child.is_empty())
    }

    /// Lists the steps at this place.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Segment, &Self)> {
        self.children.iter()
    }

    /// Adds every field of another set.
    pub(crate) fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (segment, child) in &other.children {
            self.children.entry(segment.clone()).or_default().add(child);
        }
    }

    /// Takes out every field of another set.
    pub(crate) fn subtract(&mut self, other: &Self) {
        if other.member {
            self.member = false;
        }
        for (segment, child) in &other.children {
            if let Some(own) = self.children.get_mut(segment) {
                own.subtract(child);
            }
        }
        self.children.retain(|_, child| !child.is_empty());
    }

    /// Writes the set as `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (segment, child) in &self.children {
            let key = match segment {
                Segment::Field(name) => format!("f:{name}"),
                Segment::Key(keys) => format!("k:{keys}"),
                Segment::Value(value) => format!("v:{value}"),
            };
            map.insert(key, child.to_json());
        }
        Value::Object(map)
    }

    /// Reads a set from `fieldsV1`; `None` when it is none.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let mut set = Self { member: false, children: BTreeMap::new() };
        for (key, child) in value.as_object()? {
            let segment = match key.split_at_checked(2) {
                Some(("f:", name)) => Segment::Field(name.to_owned()),
                Some(("k:", keys)) => Segment::Key(keys.to_owned()),
                Some(("v:", value)) => Segment::Value(value.to_owned()),
                _ if key == "." => {
                    set.member = true;
                    continue;
                }
                _ => return None,
            };
            let mut below = Self::from_json(child)?;
            below.member |= below.children.is_empty();
            set.children.insert(segment, below);
        }
        Some(set)
    }

    fn tidy(&mut self) {
        for child in self.children.values_mut() {
            child.tidy();
        }
        self.children.retain(|_, child| !child.is_empty());
    }

    fn at(&mut self, segment: Segment) -> &mut Self {
        self.children.entry(segment).or_default()
    }
}

/// Lists the fields that an applied object sets.
pub(crate) fn applied(kind: &GroupKind, content: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(kind, content, &mut Vec::new(), Containers::LeaveOut, &mut set);
    set.member = false;
    set.tidy();
    set
}

/// Lists the fields that differ: those that are new or changed, and those that are gone.
pub(crate) fn differences(kind: &GroupKind, before: &Value, after: &Value) -> (FieldSet, FieldSet) {
    let (mut changed, mut gone) = compare(kind, before, after, &mut Vec::new());
    changed.tidy();
    gone.tidy();
    (changed, gone)
}

/// Whether a map or list that merges is a field by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Containers {
    Count,
    LeaveOut,
}

fn collect<'v>(kind: &GroupKind, value: &'v Value, path: &mut Vec<&'v str>, containers: Containers, set: &mut FieldSet) {
    let shape = shape(kind, path, value);
    match (shape, value) {
        (Shape::Granular, Value::Object(map)) => {
            set.member = map.is_empty() || (containers == Containers::Count && path.len() > 1);
            for (name, child) in map {
                path.push(name);
                collect(kind, child, path, containers, set.at(Segment::Field(name.clone())));
                path.pop();
            }
        }
        (Shape::Keyed(_) | Shape::Set, Value::Array(items)) => {
            set.member = containers == Containers::Count;
            for item in items {
                if let Some(segment) = segment_of(item, shape) {
                    let below = set.at(segment);
                    collect(kind, item, path, containers, below);
                    below.member = true;
                }
            }
        }
        _ => set.member = true,
    }
}

/// What is new or changed, and what is gone.
type Differences = (FieldSet, FieldSet);

fn compare<'v>(kind: &GroupKind, before: &'v Value, after: &'v Value, path: &mut Vec<&'v str>) -> Differences {
    let mut found = Differences::default();
    if before == after {
        return found;
    }
    let shape = shape(kind, path, after);
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if shape == Shape::Granular => {
            for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
                path.push(name);
                step(kind, Segment::Field(name.clone()), (old.get(name), new.get(name)), path, &mut found);
                path.pop();
            }
        }
        (Value::Array(old), Value::Array(new)) if matches!(shape, Shape::Keyed(_) | Shape::Set) => {
            let (old, new) = (by_segment(old, shape), by_segment(new, shape));
            for segment in old.keys().chain(new.keys().filter(|segment| !old.contains_key(*segment))) {
                let items = (old.get(segment).copied(), new.get(segment).copied());
                step(kind, segment.clone(), items, path, &mut found);
            }
        }
        _ => found.0.member = true,
    }
    found
}

fn by_segment(items: &[Value], shape: Shape) -> BTreeMap<Segment, &Value> {
    items.iter().filter_map(|item| Some((segment_of(item, shape)?, item))).collect()
}

fn step<'v>(
    kind: &GroupKind,
    segment: Segment,
    sides: (Option<&'v Value>, Option<&'v Value>),
    path: &mut Vec<&'v str>,
    (changed, gone): &mut Differences,
) {
    match sides {
        (Some(before), Some(after)) => {
            let (below_changed, below_gone) = compare(kind, before, after, path);
            changed.at(segment.clone()).add(&below_changed);
            gone.at(segment).add(&below_gone);
        }
        (Some(before), None) => {
            let below = gone.at(segment);
            collect(kind, before, path, Containers::Count, below);
            below.member = true;
        }
        (None, Some(after)) => collect(kind, after, path, Containers::Count, changed.at(segment)),
        (None, None) => {}
    }
}
