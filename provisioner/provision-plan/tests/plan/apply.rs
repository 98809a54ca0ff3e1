//! Server-side apply as far as the tests need it: lists of named maps merge by name, all other lists are atomic.

use provision_model::Manifest;
use serde_json::{Map, Value, json};

const IDENTITY: [&str; 4] = ["name", "namespace", "uid", "managedFields"];

/// Returns the `fieldsV1` of everything in a manifest that a writer can own.
pub(crate) fn fields(manifest: &Value) -> Value {
    let mut value = manifest.clone();
    let top = value.as_object_mut().unwrap();
    top.shift_remove("apiVersion");
    top.shift_remove("kind");
    let metadata = top["metadata"].as_object_mut().unwrap();
    for key in IDENTITY {
        metadata.shift_remove(key);
    }
    if metadata.is_empty() {
        top.shift_remove("metadata");
    }
    below(&value)
}

fn below(value: &Value) -> Value {
    let mut out = Map::new();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.insert(format!("f:{key}"), below(value));
            }
        }
        Value::Array(items) => {
            for item in items {
                let Some(name) = item.get("name") else { return json!({}) };
                let mut item = below(item).as_object().unwrap().clone();
                item.insert(".".to_owned(), json!({}));
                out.insert(format!("k:{}", json!({"name": name})), Value::Object(item));
            }
        }
        _ => {}
    }
    Value::Object(out)
}

/// Applies `sent` with force; `touch` stands for the time.
pub(crate) fn apply(live: Option<&Manifest>, sent: &Manifest, manager: &str, operation: &str) -> Manifest {
    let mut wanted = sent.value().clone();
    normalise(&mut wanted);
    let ours = fields(&wanted);
    let mut result = live.map_or_else(|| wanted.clone(), |live| live.value().clone());
    let mut entries: Vec<Value> = live.map_or(&[][..], Manifest::managed_fields).to_vec();
    let is_ours = |entry: &Value| entry["manager"] == manager && entry["operation"] == operation;
    let before = entries.iter().find(|entry| is_ours(entry)).map_or(json!({}), |entry| entry["fieldsV1"].clone());
    entries.retain(|entry| !is_ours(entry));
    if operation == "Apply" {
        let others: Vec<Value> = entries.iter().map(|entry| entry["fieldsV1"].clone()).collect();
        remove(&mut result, &before, &ours, &others.iter().collect::<Vec<_>>());
    }
    for entry in &mut entries {
        yield_changed(&mut entry["fieldsV1"], &ours, &result, &wanted);
    }
    merge(&mut result, &wanted);
    entries.push(json!({"manager": manager, "operation": operation, "time": "2026-01-02T03:04:05Z", "fieldsV1": ours}));
    entries.retain(|entry| entry["fieldsV1"].as_object().is_some_and(|fields| !fields.is_empty()));
    result["metadata"]["managedFields"] = Value::Array(entries);
    Manifest::try_from(result).unwrap()
}

/// What an API server does to values: a quantity gets its shortest form.
fn normalise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "cpu" && value == "1000m" {
                    *value = json!("1");
                }
                normalise(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        _ => {}
    }
}

fn child<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    match key.split_once(':')? {
        ("f", name) => value.get_mut(name),
        (_, keys) => {
            let keys: Value = serde_json::from_str(keys).unwrap();
            value.as_array_mut()?.iter_mut().find(|item| item["name"] == keys["name"])
        }
    }
}

/// Removes what was owned and is no longer, unless another writer owns it.
fn remove(value: &mut Value, before: &Value, now: &Value, others: &[&Value]) {
    for (key, below) in before.as_object().unwrap().iter().filter(|(key, _)| *key != ".") {
        let theirs: Vec<&Value> = others.iter().filter_map(|fields| fields.get(key)).collect();
        match (now.get(key), theirs.is_empty()) {
            (None, true) => match key.split_once(':').unwrap() {
                ("f", name) => {
                    value.as_object_mut().unwrap().shift_remove(name);
                }
                (_, keys) => {
                    let keys: Value = serde_json::from_str(keys).unwrap();
                    value.as_array_mut().unwrap().retain(|item| item["name"] != keys["name"]);
                }
            },
            (now, _) => {
                if let Some(value) = child(value, key) {
                    remove(value, below, now.unwrap_or(&json!({})), &theirs);
                }
            }
        }
    }
}

/// Takes fields whose value changes away from another writer.
fn yield_changed(theirs: &mut Value, ours: &Value, live: &Value, wanted: &Value) {
    let Some(map) = theirs.as_object_mut() else { return };
    for (key, below) in ours.as_object().unwrap() {
        let (mut live, mut wanted) = (live.clone(), wanted.clone());
        let (live, wanted) = (child(&mut live, key), child(&mut wanted, key));
        let leaf = below.as_object().is_some_and(Map::is_empty);
        if leaf && live.as_deref() != wanted.as_deref() {
            map.shift_remove(key);
        } else if let (Some(live), Some(wanted), Some(fields)) = (live, wanted, map.get_mut(key)) {
            yield_changed(fields, below, live, wanted);
            if !leaf && fields.as_object().is_some_and(Map::is_empty) {
                map.shift_remove(key);
            }
        }
    }
}

fn merge(value: &mut Value, wanted: &Value) {
    match (value, wanted) {
        (Value::Object(map), Value::Object(wanted)) => {
            for (key, wanted) in wanted {
                match map.get_mut(key) {
                    Some(value) => merge(value, wanted),
                    None => {
                        map.insert(key.clone(), wanted.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(wanted)) if wanted.iter().all(|item| item.get("name").is_some()) => {
            for wanted in wanted {
                match items.iter_mut().find(|item| item["name"] == wanted["name"]) {
                    Some(item) => merge(item, wanted),
                    None => items.push(wanted.clone()),
                }
            }
            items.sort_by_key(|item| wanted.iter().position(|wanted| wanted["name"] == item["name"]));
        }
        (value, wanted) => *value = wanted.clone(),
    }
}
