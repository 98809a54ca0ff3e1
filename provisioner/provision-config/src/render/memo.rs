use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use provision_model::{DesiredObject, Finding};
use serde_json::Value as Json;

use super::tracked::{PathHasher, PathSet, Read, root_hash, step_hash};
use super::units::{Made, Unit, UnitKey};
use super::unused::ReadPaths;
use super::{RenderInputs, Rendered};
use crate::Environment;
use crate::check::{self, Catalog, Problem};
use crate::settings::Provided;

/// What was rendered last, and from what.
#[derive(Debug)]
pub(super) struct Memo {
    names: (String, Option<String>, String),
    inputs: RenderInputs,
    target: String,
    pub(super) values: Arc<Json>,
    /// The result and the units that gave it, in the same order.
    pub(super) rendered: (Rendered, Vec<Unit>),
    /// What was read outside of units.
    reads: Vec<Read>,
    checked: Checked,
    catalog: Arc<Catalog>,
}

/// What checks of all objects together gave; it holds as long as no object looks different to the others.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) problems: Vec<Problem>,
    /// Everything that templates read.
    pub(super) reads: ReadPaths,
    /// What the checks take from the settings.
    terms: (Provided, bool, String),
}

impl Checked {
    /// Checks all objects together, unless what is known of the last time still holds.
    pub(super) fn of(made: &Made, environment: &Environment, catalog: &Catalog, known: Option<Self>) -> Self {
        let terms = Self::terms(environment);
        // Definitions among the objects decide what others may hold, which facts do not tell.
        let defines = made.units.iter().flat_map(|unit| &unit.facts).any(|facts| facts.definition);
        let (problems, reads) = match known {
            Some(known) => {
                let holds = made.same_looks && known.terms == terms && !defines;
                (holds.then_some(known.problems), made.same_reads.then_some(known.reads))
            }
            None => (None, None),
        };
        let facts = || made.units.iter().flat_map(|unit| &unit.facts).collect::<Vec<_>>();
        let problems = problems.unwrap_or_else(|| check::objects(&made.objects, &facts(), environment, catalog));
        Self { problems, reads: reads.unwrap_or_else(|| ReadPaths::of(made)), terms }
    }

    /// Returns what checks take from the settings.
    fn terms(environment: &Environment) -> (Provided, bool, String) {
        let settings = &environment.settings;
        (settings.provided.clone(), settings.registry.require_digest, settings.platform.namespace.clone())
    }
}

/// Units of the last time by their keys, with their objects.
#[derive(Default)]
pub(super) struct Reusable {
    pub(super) units: HashMap<UnitKey, Former, BuildHasherDefault<PathHasher>>,
    pub(super) reads: Vec<Read>,
    pub(super) checked: Option<Checked>,
    pub(super) catalog: Option<Arc<Catalog>>,
}

/// A unit of the last time, its objects and its place.
pub(super) struct Former {
    pub(super) place: usize,
    pub(super) unit: Unit,
    pub(super) objects: Vec<DesiredObject>,
}

impl Memo {
    pub(super) fn new(
        environment: &Environment,
        inputs: &RenderInputs,
        made: Made,
        findings: Vec<Finding>,
        known: (Checked, Arc<Catalog>),
    ) -> Self {
        let (checked, catalog) = known;
        Self {
            names: names(environment),
            inputs: inputs.clone(),
            target: environment.settings.target.kubernetes.clone(),
            values: environment.values.clone(),
            reads: made.reads.clone(),
            rendered: made.rendered(environment, findings),
            checked,
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
        let units = units.into_iter().enumerate().map(|(place, unit)| {
            let objects = objects.by_ref().take(unit.facts.len()).collect();
            (unit.key.clone(), Former { place, unit, objects })
        });
        Reusable { units: units.collect(), reads: self.reads, checked: Some(self.checked), catalog: Some(self.catalog) }
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

/// A place in the values; its number is computed only where something differs.
struct Here<'h> {
    parent: Option<(&'h Here<'h>, &'h str)>,
    number: OnceCell<u64>,
}

impl Here<'_> {
    fn root() -> Self {
        Self { parent: None, number: OnceCell::new() }
    }

    fn number(&self) -> u64 {
        *self.number.get_or_init(|| self.parent.map_or_else(root_hash, |(parent, step)| step_hash(parent.number(), step)))
    }
}

impl Changes {
    pub(super) fn between(before: &Json, after: &Json) -> Self {
        let mut changes = Self::default();
        changes.compare(before, after, &Here::root());
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

    fn compare(&mut self, before: &Json, after: &Json, here: &Here<'_>) -> bool {
        let differs = match (before, after) {
            (Json::Object(a), Json::Object(b)) if a.len() == b.len() && a.keys().eq(b.keys()) => {
                let mut differs = false;
                for ((key, before), after) in a.iter().zip(b.values()) {
                    differs |= self.compare(before, after, &Here { parent: Some((here, key)), number: OnceCell::new() });
                }
                differs
            }
            (Json::Object(a), Json::Object(b)) => {
                self.keys.insert(here.number());
                for (key, value) in a {
                    match b.get(key) {
                        Some(other) => self.compare(value, other, &Here { parent: Some((here, key)), number: OnceCell::new() }),
                        None => self.all(value, step_hash(here.number(), key)),
                    };
                }
                for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                    self.all(value, step_hash(here.number(), key));
                }
                true
            }
            (Json::Array(a), Json::Array(b)) => self.lists(a, b, here),
            (before, after) if before == after => false,
            (before, after) => self.all(before, here.number()) | self.all(after, here.number()),
        };
        if differs {
            self.values.insert(here.number());
        }
        differs
    }

    fn lists(&mut self, a: &[Json], b: &[Json], here: &Here<'_>) -> bool {
        let mut differs = a.len() != b.len();
        if differs {
            self.keys.insert(here.number());
        }
        for index in 0..a.len().max(b.len()) {
            differs |= match (a.get(index), b.get(index)) {
                (Some(before), Some(after)) if before.is_object() || before.is_array() || before != after => {
                    self.compare(before, after, &Here { parent: Some((here, &index.to_string())), number: OnceCell::new() })
                }
                (Some(_), Some(_)) | (None, None) => false,
                (Some(one), None) | (None, Some(one)) => self.all(one, step_hash(here.number(), &index.to_string())),
            };
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
