use std::collections::HashMap;
use std::sync::Arc;

use provision_model::DesiredObject;
use serde_json::Value as Json;

use super::tracked::{PathSet, Read, root_hash, step_hash};
use super::units::{Unit, UnitKey};
use super::{RenderInputs, Rendered};
use crate::Environment;
use crate::check::Catalog;

/// What was rendered last, and from what.
#[derive(Debug)]
pub(super) struct Memo {
    names: (String, Option<String>, String),
    inputs: RenderInputs,
    target: String,
    pub(super) values: Arc<Json>,
    /// The result and the units that gave it, in the same order.
    pub(super) rendered: (Rendered, Vec<Unit>),
    catalog: Arc<Catalog>,
}

/// Units of the last time by their keys, with their objects.
#[derive(Default)]
pub(super) struct Reusable {
    pub(super) units: HashMap<UnitKey, (Unit, Vec<DesiredObject>)>,
    pub(super) catalog: Option<Arc<Catalog>>,
}

impl Memo {
    pub(super) fn new(environment: &Environment, inputs: &RenderInputs, rendered: (Rendered, Vec<Unit>), catalog: Arc<Catalog>) -> Self {
        Self {
            names: names(environment),
            inputs: inputs.clone(),
            target: environment.settings.target.kubernetes.clone(),
            values: environment.values.clone(),
            rendered,
            catalog,
        }
    }

    /// Tells whether what does not come from values is the same.
    pub(super) fn fits(&self, environment: &Environment, inputs: &RenderInputs) -> bool {
        self.names == names(environment) && self.inputs == *inputs && self.target == environment.settings.target.kubernetes
    }

    pub(super) fn into_reusable(self) -> Reusable {
        let (rendered, units) = self.rendered;
        let mut objects = rendered.desired.objects.into_iter();
        let units = units.into_iter().map(|unit| {
            let own = objects.by_ref().take(unit.facts.len()).collect();
            (unit.key.clone(), (unit, own))
        });
        Reusable { units: units.collect(), catalog: Some(self.catalog) }
    }
}

fn names(environment: &Environment) -> (String, Option<String>, String) {
    (environment.name.to_string(), environment.region.as_ref().map(ToString::to_string), environment.release.to_string())
}

/// The paths under which two versions of the values differ.
#[derive(Debug, Default)]
pub(super) struct Changes {
    values: PathSet,
    keys: PathSet,
}

impl Changes {
    pub(super) fn between(before: &Json, after: &Json) -> Self {
        let mut changes = Self::default();
        changes.compare(before, after, root_hash());
        changes
    }

    /// Tells whether something of what was read is different now.
    pub(super) fn touch(&self, reads: &[Read]) -> bool {
        !self.values.is_empty()
            && reads.iter().any(|read| match read {
                Read::Whole(path) => self.values.contains(path),
                Read::Keys(path) => self.keys.contains(path),
            })
    }

    fn compare(&mut self, before: &Json, after: &Json, path: u64) -> bool {
        let differs = match (before, after) {
            (Json::Object(a), Json::Object(b)) => {
                let same_keys = a.len() == b.len() && a.keys().eq(b.keys());
                if !same_keys {
                    self.keys.insert(path);
                }
                if same_keys {
                    let mut differs = false;
                    for ((key, before), after) in a.iter().zip(b.values()) {
                        differs |= self.compare(before, after, step_hash(path, key));
                    }
                    return self.mark(path, differs);
                }
                let mut differs = true;
                for (key, value) in a {
                    let inner = step_hash(path, key);
                    differs |= match b.get(key) {
                        Some(other) => self.compare(value, other, inner),
                        None => self.all(value, inner),
                    };
                }
                for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                    differs |= self.all(value, step_hash(path, key));
                }
                differs
            }
            (Json::Array(a), Json::Array(b)) => {
                if a.len() != b.len() {
                    self.keys.insert(path);
                }
                let mut differs = a.len() != b.len();
                for index in 0..a.len().max(b.len()) {
                    let inner = step_hash(path, &index.to_string());
                    differs |= match (a.get(index), b.get(index)) {
                        (Some(before), Some(after)) => self.compare(before, after, inner),
                        (Some(one), None) | (None, Some(one)) => self.all(one, inner),
                        (None, None) => false,
                    };
                }
                differs
            }
            (before, after) if before == after => false,
            (before, after) => self.all(before, path) | self.all(after, path),
        };
        self.mark(path, differs)
    }

    fn mark(&mut self, path: u64, differs: bool) -> bool {
        if differs {
            self.values.insert(path);
        }
        differs
    }

    /// Marks a value and everything in it.
    fn all(&mut self, value: &Json, path: u64) -> bool {
        self.values.insert(path);
        self.keys.insert(path);
        match value {
            Json::Object(map) => map.iter().for_each(|(key, value)| {
                self.all(value, step_hash(path, key));
            }),
            Json::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
                self.all(value, step_hash(path, &index.to_string()));
            }),
            _ => {}
        }
        true
    }
}
