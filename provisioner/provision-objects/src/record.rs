//! One object as one JSON value, to be kept and read again.

use std::sync::Arc;

use jiff::Timestamp;
use provision_model::{Manifest, ResourceId};
use serde_json::{Map, Value};

use crate::Settings;
use crate::fields::FieldSet;
use crate::objects::{Objects, Operation, Owner, Stored, stamp};

/// What was kept of a state, to go on from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Objects as [`record`] wrote them.
    pub records: Vec<Value>,
    /// Greatest version given.
    pub revision: u64,
    /// Number of UIDs given.
    pub made: u64,
}

/// Writes an object with its owners of fields.
pub fn record(stored: &Stored) -> Value {
    let mut value = stored.value.clone();
    let entries: Vec<Value> = stored.owners.iter().map(entry).collect();
    if !entries.is_empty() {
        value["metadata"]["managedFields"] = Value::from(entries);
    }
    value
}

impl Objects {
    /// Goes on from what was kept; every object is queued for the controllers. Returns `None` when a record is no object.
    pub fn load(settings: Settings, loaded: Loaded, now: Timestamp) -> Option<Self> {
        let mut objects = Self::empty(settings, now);
        for value in loaded.records {
            let (id, stored) = read(value)?;
            objects.replace(&id, Some(Arc::new(stored)));
            objects.queue(id);
        }
        objects.revision = objects.revision.max(loaded.revision);
        objects.made = loaded.made;
        objects.serve_crds();
        objects.changes.clear();
        Some(objects)
    }
}

fn read(mut value: Value) -> Option<(ResourceId, Stored)> {
    let entries = value.get_mut("metadata")?.as_object_mut()?.shift_remove("managedFields");
    let owners = match entries {
        Some(Value::Array(entries)) => entries.iter().map(owner).collect::<Option<Vec<Owner>>>()?,
        Some(_) => return None,
        None => Vec::new(),
    };
    let manifest = Manifest::try_from(value).ok()?;
    let id = manifest.id();
    Some((id, Stored { value: manifest.value().clone(), owners }))
}

pub(crate) fn entry(owner: &Owner) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".to_owned(), Value::from(owner.manager.as_str()));
    entry.insert("operation".to_owned(), Value::from(if owner.operation == Operation::Apply { "Apply" } else { "Update" }));
    entry.insert("apiVersion".to_owned(), Value::from(owner.api_version.as_str()));
    entry.insert("time".to_owned(), Value::from(stamp(owner.time)));
    entry.insert("fieldsType".to_owned(), Value::from("FieldsV1"));
    entry.insert("fieldsV1".to_owned(), owner.fields.to_json());
    if let Some(subresource) = &owner.subresource {
        entry.insert("subresource".to_owned(), Value::from(subresource.as_str()));
    }
    Value::Object(entry)
}

fn owner(entry: &Value) -> Option<Owner> {
    let text = |field: &str| entry[field].as_str().map(str::to_owned);
    Some(Owner {
        manager: text("manager")?,
        operation: match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        },
        subresource: text("subresource"),
        api_version: text("apiVersion")?,
        time: text("time")?.parse().ok()?,
        fields: FieldSet::from_json(entry.get("fieldsV1")?)?,
    })
}
