//! Two environments beside each other: values and rendered objects.

use std::collections::BTreeMap;
use std::fmt;

use provision_model::{DesiredObject, FieldChange, FieldPath, FieldSegment, ResourceId};
use serde::Serialize;
use serde_json::Value;

use crate::{ConfigErrors, Environment, Layered, RenderInputs, Selection, Sources, ValueEntry, render, resolve};

/// Whether a difference of values looks wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueDifference {
    /// Layers of both set it, and differently.
    Intended,
    /// Only one of them sets it.
    Accidental,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueChange {
    /// Path.
    pub path: String,
    /// Whether it looks wanted.
    pub difference: ValueDifference,
    /// What holds in the first and which line sets it; `None` when no layer does.
    pub before: Option<Layered>,
    /// What holds in the second.
    pub after: Option<Layered>,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "difference")]
pub enum ObjectChange {
    /// Only the first has it.
    OnlyBefore {
        /// Which.
        object: ResourceId,
    },
    /// Only the second has it.
    OnlyAfter {
        /// Which.
        object: ResourceId,
    },
    /// Both have it, with other fields.
    Changed {
        /// Which.
        object: ResourceId,
        /// The fields.
        fields: Vec<FieldChange>,
    },
}

/// What differs between two environments; the order of keys and comments make no difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvDiff {
    /// Values, by path.
    pub values: Vec<ValueChange>,
    /// Objects, by kind, namespace and name.
    pub objects: Vec<ObjectChange>,
}

impl EnvDiff {
    /// Tells whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.objects.is_empty()
    }
}

/// Compares two environments.
///
/// # Errors
/// [`ConfigErrors`] when one of them does not resolve or render.
pub fn env_diff(sources: &Sources, a: &Selection, b: &Selection, inputs: &RenderInputs) -> Result<EnvDiff, ConfigErrors> {
    let (before, after) = (resolve(sources, a)?, resolve(sources, b)?);
    let rendered = [render(sources, &before, inputs)?, render(sources, &after, inputs)?];
    let [first, second] = rendered.map(|rendered| rendered.desired.objects);
    Ok(EnvDiff { values: values(&before, &after), objects: objects(&first, &second) })
}

fn values(before: &Environment, after: &Environment) -> Vec<ValueChange> {
    let by_path = |environment: &Environment| -> BTreeMap<String, ValueEntry> {
        environment.entries().into_iter().map(|entry| (entry.path.clone(), entry)).collect()
    };
    let (before, after) = (by_path(before), by_path(after));
    let set = |entry: Option<&ValueEntry>| {
        let entry = entry?;
        Some(Layered { value: entry.value.clone(), origin: entry.origin.clone()? })
    };
    let mut changes = Vec::new();
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let (first, second) = (before.get(path), after.get(path));
        if first.map(|entry| &entry.value) == second.map(|entry| &entry.value) {
            continue;
        }
        let (first, second) = (set(first), set(second));
        let difference = match (&first, &second) {
            (Some(_), Some(_)) => ValueDifference::Intended,
            // A default against a default of another shape, such as an empty map that is filled: its entries say so.
            (None, None) => continue,
            _ => ValueDifference::Accidental,
        };
        changes.push(ValueChange { path: path.clone(), difference, before: first, after: second });
    }
    changes
}

fn objects(before: &[DesiredObject], after: &[DesiredObject]) -> Vec<ObjectChange> {
    let by_id = |objects: &[DesiredObject]| -> BTreeMap<ResourceId, Value> {
        objects.iter().map(|object| (object.id(), object.manifest.value().clone())).collect()
    };
    let (before, mut after) = (by_id(before), by_id(after));
    let mut changes: BTreeMap<ResourceId, ObjectChange> = BTreeMap::new();
    for (object, first) in before {
        match after.remove(&object) {
            Some(second) if first == second => {}
            Some(second) => {
                let mut fields = Vec::new();
                compare(&first, &second, &FieldPath::default(), &mut fields);
                changes.insert(object.clone(), ObjectChange::Changed { object, fields });
            }
            None => {
                changes.insert(object.clone(), ObjectChange::OnlyBefore { object });
            }
        }
    }
    changes.extend(after.into_keys().map(|object| (object.clone(), ObjectChange::OnlyAfter { object })));
    changes.into_values().collect()
}

fn compare(before: &Value, after: &Value, path: &FieldPath, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (a, b) if a == b => {}
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => compare(value, other, &path.key(key), changes),
                    None => changes.push(FieldChange { path: path.key(key), before: Some(value.clone()), after: None }),
                }
            }
            let added = b.iter().filter(|(key, _)| !a.contains_key(*key));
            changes.extend(added.map(|(key, value)| FieldChange { path: path.key(key), before: None, after: Some(value.clone()) }));
        }
        (Value::Array(a), Value::Array(b)) => match (names(a), names(b)) {
            (Some(first), Some(second)) => {
                for (name, value) in &first {
                    let inner = item(path, name);
                    match second.get(name) {
                        Some(other) => compare(value, other, &inner, changes),
                        None => changes.push(FieldChange { path: inner, before: Some((*value).clone()), after: None }),
                    }
                }
                let added = second.iter().filter(|(name, _)| !first.contains_key(*name));
                changes.extend(added.map(|(name, value)| FieldChange {
                    path: item(path, name),
                    before: None,
                    after: Some((*value).clone()),
                }));
                let order = |list: &[Value]| list.iter().filter_map(|item| item.get("name").cloned()).collect::<Vec<_>>();
                if first.keys().eq(second.keys()) && order(a) != order(b) {
                    changes.push(FieldChange { path: path.clone(), before: Some(order(a).into()), after: Some(order(b).into()) });
                }
            }
            _ => changes.push(FieldChange { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()) }),
        },
        _ => changes.push(FieldChange { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

/// Returns the items of a list by their names, if each has one of its own.
fn names(list: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let named: Option<BTreeMap<&str, &Value>> = list.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect();
    named.filter(|named| named.len() == list.len())
}

fn item(path: &FieldPath, name: &str) -> FieldPath {
    path.with(FieldSegment::Item(BTreeMap::from([("name".to_owned(), Value::from(name).to_string())])))
}

impl fmt::Display for EnvDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (difference, title) in
            [(ValueDifference::Intended, "intended: both set it"), (ValueDifference::Accidental, "accidental: one of them does not set it")]
        {
            let mut group = self.values.iter().filter(|change| change.difference == difference).peekable();
            if group.peek().is_some() {
                writeln!(f, "values, {title}")?;
            }
            for change in group {
                writeln!(f, "  {}", change.path)?;
                for (sign, side) in [('-', &change.before), ('+', &change.after)] {
                    match side {
                        Some(side) => writeln!(f, "    {sign} {}  # {}", side.value, side.origin)?,
                        None => writeln!(f, "    {sign} not set")?,
                    }
                }
            }
        }
        if !self.objects.is_empty() {
            writeln!(f, "objects")?;
        }
        for change in &self.objects {
            match change {
                ObjectChange::OnlyBefore { object } => writeln!(f, "  - {object}")?,
                ObjectChange::OnlyAfter { object } => writeln!(f, "  + {object}")?,
                ObjectChange::Changed { object, fields } => {
                    writeln!(f, "  ~ {object}")?;
                    for field in fields {
                        let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "not there".to_owned(), Value::to_string);
                        writeln!(f, "      {}: {} -> {}", field.path, side(&field.before), side(&field.after))?;
                    }
                }
            }
        }
        Ok(())
    }
}
