use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use minijinja::value::{Value, ValueKind};
use provision_model::{Desired, DesiredObject, Finding};
use serde_json::Value as Json;

use super::evaluate::{Element, Evaluation, Trace, TracedField, located};
use super::machine::{Binding, Machine, Scope, environment};
use super::memo::{Changes, Former, Reusable};
use super::template::{Template, Templates};
use super::tracked::{Read, Recorder, Tracked};
use super::{Provenance, Rendered, object};
use crate::check::{Catalog, Facts, Problem};
use crate::{Environment, Sources};

/// Units below this number are not worth a thread.
const UNITS_PER_THREAD: usize = 64;

/// Which document, and for which element of its `$for`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UnitKey {
    document: usize,
    element: ElementKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ElementKey {
    /// The document has no `$for`.
    Only,
    /// A value of the settings by the number of its path.
    Path(u64),
    /// Another value by its place and its text; `None` when it is no scalar, which is never rendered from memory.
    Plain(usize, Option<String>),
}

/// One evaluation of a document: what it read and what is known about its objects.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) key: UnitKey,
    position: (usize, usize),
    pub(crate) reads: Vec<Read>,
    pub(crate) facts: Vec<Facts>,
}

/// All units and objects of one rendering.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) units: Vec<Unit>,
    pub(crate) objects: Vec<DesiredObject>,
    pub(crate) findings: Vec<Finding>,
    /// What was read outside of units.
    pub(crate) reads: Vec<Read>,
    /// Whether every object looks to the others as it did the last time.
    pub(crate) same_looks: bool,
    /// Whether the same was read as the last time.
    pub(crate) same_reads: bool,
}

/// A unit that is to be rendered.
struct Order {
    key: UnitKey,
    position: (usize, usize),
    element: Option<Element>,
}

/// What one order gave.
struct Delivery {
    unit: Unit,
    objects: Vec<DesiredObject>,
    findings: Vec<Finding>,
}

impl Delivery {
    /// Tells whether checks of all objects together would say the same as with the former ones.
    fn looks_like(&self, former: &Former) -> bool {
        let pairs = || self.objects.iter().zip(&former.objects);
        self.unit.facts == former.unit.facts && pairs().all(|(new, old)| new.depends_on == old.depends_on && new.origin == old.origin)
    }
}

/// Everything that evaluations share.
pub(super) struct Workshop<'w> {
    pub(super) sources: &'w Sources,
    pub(super) templates: &'w Templates,
    pub(super) environment: &'w Environment,
}

impl Workshop<'_> {
    /// Renders every unit that is new or read something that changed.
    pub(super) fn make(&self, reusable: Reusable, changes: Option<&Changes>, catalog: &Catalog) -> Made {
        let engine = environment();
        let machine = Machine::new(&engine, self.templates);
        let mut made = Made::default();
        let (orders, findings, reads) = self.orders(&machine, &Arc::new(Recorder::default()));
        made.findings = findings;
        made.reads = reads;
        made.same_reads = reusable.reads == made.reads;
        made.same_looks = true;
        let mut former = reusable.units;
        let mut slots: Vec<Option<Delivery>> = Vec::with_capacity(orders.len());
        let mut wanted: Vec<(usize, Order)> = Vec::new();
        let mut replaced: HashMap<usize, Former> = HashMap::new();
        for (place, order) in orders.into_iter().enumerate() {
            let fits = |unit: &Unit| {
                let fresh = changes.is_some_and(|changes| !changes.touch(&unit.reads));
                fresh && unit.position == order.position && !matches!(order.key.element, ElementKey::Plain(_, None))
            };
            let known = former.remove(&order.key);
            made.same_looks &= known.as_ref().is_some_and(|known| known.place == place);
            match known {
                Some(Former { unit, objects, .. }) if fits(&unit) => slots.push(Some(Delivery { unit, objects, findings: Vec::new() })),
                known => {
                    replaced.extend(known.map(|known| (place, known)));
                    slots.push(None);
                    wanted.push((place, order));
                }
            }
        }
        made.same_looks &= former.is_empty();
        for (place, delivery) in self.deliver(&machine, wanted, catalog) {
            let before = replaced.get(&place);
            made.same_looks &= before.is_some_and(|before| delivery.looks_like(before));
            made.same_reads &= before.is_some_and(|before| before.unit.reads == delivery.unit.reads);
            slots[place] = Some(delivery);
        }
        for delivery in slots.into_iter().flatten() {
            made.findings.extend(delivery.findings);
            made.objects.extend(delivery.objects);
            made.units.push(delivery.unit);
        }
        made
    }

    fn globals(&self, recorder: &Arc<Recorder>) -> Arc<Scope> {
        let values = Tracked::root(&self.environment.values, recorder);
        let region = self.environment.region.as_ref().map_or_else(|| Value::from(()), |region| Value::from(region.as_str()));
        let names = [
            ("values", Value::from_dyn_object(values)),
            ("environment", Value::from(self.environment.name.as_str())),
            ("region", region),
            ("release", Value::from(self.environment.release.as_str())),
        ];
        let names = names.into_iter().map(|(name, value)| Binding::new(name, value)).collect();
        Arc::new(Scope { names, parent: None, recorder: recorder.clone() })
    }

    fn evaluation<'e, 'r>(&'e self, machine: &'e Machine<'r>, recorder: Arc<Recorder>) -> Evaluation<'e, 'r> {
        Evaluation {
            machine,
            templates: self.templates,
            sources: self.sources,
            globals: self.globals(&recorder),
            recorder,
            findings: Vec::new(),
            dependencies: None,
            trace: None,
        }
    }

    /// Lists the units: one for each document, or one for each element of its `$for`.
    fn orders(&self, machine: &Machine<'_>, recorder: &Arc<Recorder>) -> (Vec<Order>, Vec<Finding>, Vec<Read>) {
        let mut evaluation = self.evaluation(machine, recorder.clone());
        let globals = evaluation.globals.clone();
        let mut orders = Vec::new();
        for (document, template) in self.templates.documents.iter().enumerate() {
            let repeat = match template {
                Template::Map(map) => map.repeat.as_ref(),
                other => {
                    let origin = self.templates.tree.origin(other.place());
                    evaluation.findings.push(Finding::fatal("document", "a document of a template must be a map").at(origin));
                    continue;
                }
            };
            let Some(repeat) = repeat else {
                orders.push(Order { key: UnitKey { document, element: ElementKey::Only }, position: (0, 1), element: None });
                continue;
            };
            let elements = evaluation.elements(&repeat.items, &globals);
            let uses_loop = self.templates.mentioned.contains("loop");
            let count = elements.len();
            for (index, element) in elements.into_iter().enumerate() {
                let position = if uses_loop { (index, count) } else { (0, 1) };
                let key = UnitKey { document, element: element_key(&element, index) };
                orders.push(Order { key, position, element: Some(element) });
            }
        }
        let reads = recorder.take();
        (orders, evaluation.findings, reads)
    }

    fn deliver(&self, machine: &Machine<'_>, orders: Vec<(usize, Order)>, catalog: &Catalog) -> Vec<(usize, Delivery)> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(orders.len() / UNITS_PER_THREAD + 1);
        let one = |(place, order): (usize, Order)| (place, self.one(machine, order, catalog));
        if threads < 2 {
            return orders.into_iter().map(one).collect();
        }
        let mut shares: Vec<Vec<(usize, Order)>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, order) in orders.into_iter().enumerate() {
            shares[number % threads].push(order);
        }
        thread::scope(|scope| {
            let workers: Vec<_> =
                shares.into_iter().map(|share| scope.spawn(move || share.into_iter().map(one).collect::<Vec<_>>())).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    fn one(&self, machine: &Machine<'_>, order: Order, catalog: &Catalog) -> Delivery {
        let recorder = Arc::new(Recorder::default());
        let mut evaluation = self.evaluation(machine, recorder.clone());
        let results = run(&mut evaluation, self.templates, &order);
        let mut objects = Vec::new();
        let mut facts = Vec::new();
        let mut findings = std::mem::take(&mut evaluation.findings);
        let place = self.templates.documents[order.key.document].place();
        if findings.is_empty() {
            let origin = self.templates.tree.origin(place);
            let declared = evaluation.dependencies.map(|place| self.templates.tree.origin(place));
            for result in results {
                match object::desired(result, &origin, declared.as_ref()) {
                    Ok((object, problems)) => {
                        let mut known = Facts::of(&object.manifest, &object.origin, catalog);
                        known.problems.extend(problems);
                        facts.push(known);
                        objects.push(object);
                    }
                    Err(problem) => findings.push(*problem),
                }
            }
        }
        let unit = Unit { key: order.key, position: order.position, reads: recorder.take(), facts };
        Delivery { unit, objects, findings }
    }

    /// Evaluates one unit again and tells for each field where it comes from.
    pub(super) fn trace(&self, key: &UnitKey) -> Vec<TracedField> {
        let engine = environment();
        let machine = Machine::new(&engine, self.templates);
        let (orders, _, _) = self.orders(&machine, &Arc::new(Recorder::with_paths()));
        orders.iter().find(|order| order.key == *key).map(|order| self.traced(&machine, order)).unwrap_or_default()
    }

    fn traced(&self, machine: &Machine<'_>, order: &Order) -> Vec<TracedField> {
        let mut evaluation = self.evaluation(machine, Arc::new(Recorder::with_paths()));
        evaluation.trace = Some(Trace::default());
        run(&mut evaluation, self.templates, order);
        evaluation.trace.map(|trace| trace.fields).unwrap_or_default()
    }

    /// Adds to each problem of an object's field the template line and the layer lines that it comes from.
    pub(super) fn locate(&self, problems: &mut [Problem], made: &Made) {
        if problems.iter().all(|problem| problem.pointer.is_none()) {
            return;
        }
        let owners: Vec<&UnitKey> = made.units.iter().flat_map(|unit| unit.facts.iter().map(|_| &unit.key)).collect();
        let engine = environment();
        let machine = Machine::new(&engine, self.templates);
        let mut orders: Option<HashMap<UnitKey, Order>> = None;
        let mut last: Option<(usize, Vec<TracedField>)> = None;
        for problem in problems.iter_mut() {
            let (Some(place), Some(pointer)) = (problem.object, &problem.pointer) else { continue };
            if last.as_ref().is_none_or(|(known, _)| *known != place) {
                let recorder = Arc::new(Recorder::with_paths());
                let all = || self.orders(&machine, &recorder).0.into_iter().map(|order| (order.key.clone(), order)).collect();
                let order = owners.get(place).and_then(|key| orders.get_or_insert_with(all).get(*key));
                last = order.map(|order| (place, self.traced(&machine, order)));
            }
            let Some(field) = last.as_ref().and_then(|(_, fields)| nearest_field(fields, pointer)) else { continue };
            let mut origins = vec![self.templates.tree.origin(field.place)];
            origins.extend(field.reads.iter().filter_map(|path| self.environment.origin_of(path)));
            origins.append(&mut problem.finding.origins);
            problem.finding.origins = origins;
        }
    }
}

/// Finds the field at a pointer, or the nearest one around it.
pub(crate) fn nearest_field<'f>(fields: &'f [TracedField], pointer: &str) -> Option<&'f TracedField> {
    let mut wanted = format!("/0{pointer}");
    loop {
        if let Some(field) = fields.iter().rev().find(|field| field.pointer == wanted) {
            return Some(field);
        }
        // A map has no line of its own: that of its first field is the nearest.
        let inside = format!("{wanted}/");
        if let Some(field) = fields.iter().find(|field| field.pointer.starts_with(&inside)) {
            return Some(field);
        }
        let cut = wanted.rfind('/')?;
        wanted.truncate(cut);
    }
}

fn run(evaluation: &mut Evaluation<'_, '_>, templates: &Templates, order: &Order) -> Vec<Json> {
    let Template::Map(map) = &templates.documents[order.key.document] else { return Vec::new() };
    let globals = evaluation.globals.clone();
    let scope = match (&map.repeat, &order.element) {
        (Some(repeat), Some(element)) => evaluation.bind(&repeat.names, element.clone(), order.position, &globals),
        _ => globals,
    };
    let mut results = Vec::new();
    evaluation.item(map, &scope, &mut results);
    results
}

fn element_key(element: &Element, index: usize) -> ElementKey {
    match element {
        Element::Entry(_, tracked) | Element::Tracked(tracked) => ElementKey::Path(tracked.hash()),
        Element::Plain(value, _) => {
            let scalar = matches!(value.kind(), ValueKind::String | ValueKind::Number | ValueKind::Bool | ValueKind::None);
            ElementKey::Plain(index, scalar.then(|| value.to_string()))
        }
    }
}

impl Made {
    /// Puts the result together.
    pub(super) fn rendered(self, environment: &Environment, findings: Vec<Finding>) -> (Rendered, Vec<Unit>) {
        let units = self.units.iter().flat_map(|unit| unit.facts.iter().map(|_| unit.key.clone())).collect();
        let desired = Desired {
            environment: environment.name.clone(),
            region: environment.region.clone(),
            release: environment.release.clone(),
            objects: self.objects,
            policy: environment.policy(),
            findings,
        };
        (Rendered { desired, provenance: Provenance { units } }, self.units)
    }
}

/// Lists the scalars that are no valid template, each at its place.
pub(super) fn syntax_findings(sources: &Sources, templates: &Templates, machine: &Machine<'_>) -> Vec<Finding> {
    let finding = |(slot, failure): (usize, super::machine::Failure)| {
        let origin = templates.tree.origin(templates.sources[slot].1);
        let origin = located(sources, &origin, failure.needle.as_deref());
        Finding { help: failure.help, ..Finding::fatal(failure.code, failure.message).at(origin) }
    };
    machine.syntax_errors().into_iter().map(finding).collect()
}
