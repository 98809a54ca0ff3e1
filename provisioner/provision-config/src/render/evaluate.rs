use std::sync::Arc;

use minijinja::value::Value;
use provision_model::{Finding, Origin};
use serde_json::{Map, Value as Json};

use super::machine::{Binding, Failure, Machine, Scope, to_json};
use super::template::{Body, Key, Loop, Scalar, Template, TemplateMap, Templates};
use super::tracked::{Recorder, Tracked, from_json};
use crate::Sources;
use crate::pointer::escape;
use crate::tree::Place;

/// Where one field of a rendered object comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TracedField {
    /// JSON pointer of the field.
    pub(crate) pointer: String,
    pub(crate) place: Place,
    /// Value paths that were read for it.
    pub(crate) reads: Vec<String>,
}

/// One evaluation of one document.
pub(crate) struct Evaluation<'e, 'r> {
    pub(crate) machine: &'e Machine<'r>,
    pub(crate) templates: &'e Templates,
    pub(crate) sources: &'e Sources,
    pub(crate) recorder: Arc<Recorder>,
    /// The scope that fragments start from.
    pub(crate) globals: Arc<Scope>,
    pub(crate) findings: Vec<Finding>,
    /// Where the dependencies of the object are declared.
    pub(crate) dependencies: Option<Place>,
    pub(crate) trace: Option<Trace>,
}

/// The fields seen so far and the place in the object where the evaluation is.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) fields: Vec<TracedField>,
    pointer: String,
}

/// One element of a `$for`.
#[derive(Debug, Clone)]
pub(crate) enum Element {
    /// An entry of a map inside the settings.
    Entry(Arc<str>, Arc<Tracked>),
    /// A container inside the settings.
    Tracked(Arc<Tracked>),
    /// Anything else, with the paths that were read to compute it.
    Plain(Value, Vec<String>),
}

impl Evaluation<'_, '_> {
    /// Evaluates a template that stands as an item: it may give none or many values.
    pub(crate) fn items(&mut self, template: &Template, scope: &Arc<Scope>, out: &mut Vec<Json>) {
        let Template::Map(map) = template else {
            out.extend(self.value(template, scope));
            return;
        };
        let Some(repeat) = &map.repeat else {
            self.item(map, scope, out);
            return;
        };
        for scope in self.repeated(repeat, scope) {
            self.item(map, &scope, out);
        }
    }

    /// Evaluates a map without looking at its `$for`.
    pub(crate) fn item(&mut self, map: &TemplateMap, scope: &Arc<Scope>, out: &mut Vec<Json>) {
        let mark = self.enter(|| format!("/{}", out.len()));
        if let Some(scope) = self.inner_scope(map, scope) {
            match &map.body {
                Body::Include { fragment, with } => {
                    // A fragment may repeat too: its items keep their own places in the list.
                    self.leave(mark);
                    let scope = self.fragment_scope(with, &scope);
                    let templates = self.templates;
                    self.items(&templates.fragments[*fragment], &scope, out);
                    return;
                }
                body => out.extend(self.body(body, &scope)),
            }
        }
        self.leave(mark);
    }

    /// Evaluates a template that stands under a key; `None` leaves the key out.
    pub(crate) fn value(&mut self, template: &Template, scope: &Arc<Scope>) -> Option<Json> {
        match template {
            Template::Literal(json, place) => {
                self.note(*place, Vec::new());
                Some(json.clone())
            }
            Template::Scalar(scalar) => self.json(scalar, scope).filter(|json| !json.is_null()),
            Template::List(items, _) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Template::Map(_) => self.items(item, scope, &mut out),
                        plain => {
                            let mark = self.enter(|| format!("/{}", out.len()));
                            out.extend(self.value(plain, scope));
                            self.leave(mark);
                        }
                    }
                }
                Some(Json::Array(out))
            }
            Template::Map(map) => {
                let scope = self.inner_scope(map, scope)?;
                self.body(&map.body, &scope)
            }
        }
    }

    fn body(&mut self, body: &Body, scope: &Arc<Scope>) -> Option<Json> {
        match body {
            Body::Value(value) => self.value(value, scope),
            Body::Include { fragment, with } => {
                let scope = self.fragment_scope(with, scope);
                let templates = self.templates;
                self.value(&templates.fragments[*fragment], &scope)
            }
            Body::Map { merges, entries } => {
                let mut merged = Map::new();
                for merge in merges {
                    self.merge_item(merge, scope, &mut merged);
                }
                for entry in entries {
                    let Some(key) = self.key(&entry.key, scope) else { continue };
                    let mark = self.enter(|| format!("/{}", escape(&key)));
                    let value = self.value(&entry.value, scope);
                    self.leave(mark);
                    if entry.dependencies && value.is_some() {
                        self.dependencies = Some(entry.value.place());
                    }
                    if let Some(value) = value {
                        merge_into(&mut merged, key, value);
                    }
                }
                Some(Json::Object(merged))
            }
        }
    }

    /// Evaluates one item of `$merge`; its fields stand in the map itself, not in a list.
    fn merge_item(&mut self, template: &Template, scope: &Arc<Scope>, merged: &mut Map<String, Json>) {
        let mut results = Vec::new();
        match template {
            Template::Map(map) => match &map.repeat {
                Some(repeat) => {
                    for scope in self.repeated(repeat, scope) {
                        if let Some(scope) = self.inner_scope(map, &scope) {
                            results.extend(self.body(&map.body, &scope));
                        }
                    }
                }
                None => results.extend(self.value(template, scope)),
            },
            other => results.extend(self.value(other, scope)),
        }
        for result in results {
            match result {
                Json::Object(map) => map.into_iter().for_each(|(key, value)| merge_into(merged, key, value)),
                _ => self.fail(template.place(), Failure::plain("merge-map", "`$merge` needs maps; this is none")),
            }
        }
    }

    fn key(&mut self, key: &Key, scope: &Arc<Scope>) -> Option<String> {
        match key {
            Key::Literal(key) => Some(key.clone()),
            Key::Computed(scalar) => match self.json(scalar, scope)? {
                Json::String(key) => Some(key),
                other => {
                    let kind = if other.is_null() { "nothing" } else { "no text" };
                    self.fail(scalar.place, Failure::plain("key-text", format!("a key must be a text; this gives {kind}")));
                    None
                }
            },
        }
    }

    /// Evaluates `$let` and `$if`; `None` when the condition is false or fails.
    fn inner_scope(&mut self, map: &TemplateMap, scope: &Arc<Scope>) -> Option<Arc<Scope>> {
        let condition = |evaluation: &mut Self, scope: &Arc<Scope>| match &map.condition {
            Some(scalar) => evaluation.scalar(scalar, scope).is_some_and(|value| value.is_true()),
            None => true,
        };
        if !map.condition_reads_lets && !condition(self, scope) {
            return None;
        }
        let scope = if map.lets.is_empty() { scope.clone() } else { self.named(&map.lets, scope, Some(scope.clone())) };
        (!map.condition_reads_lets || condition(self, &scope)).then_some(scope)
    }

    fn fragment_scope(&mut self, with: &[(String, Template)], scope: &Arc<Scope>) -> Arc<Scope> {
        let globals = self.globals.clone();
        let names = with.iter().filter_map(|(name, template)| self.bound(name, template, scope)).collect();
        self.scope(names, Some(globals))
    }

    fn scope(&self, names: Vec<Binding>, parent: Option<Arc<Scope>>) -> Arc<Scope> {
        Arc::new(Scope { names, parent, recorder: self.recorder.clone() })
    }

    /// Evaluates names one after another; each sees those before it.
    fn named(&mut self, lets: &[(String, Template)], scope: &Arc<Scope>, parent: Option<Arc<Scope>>) -> Arc<Scope> {
        let mut current = self.scope(Vec::new(), parent);
        for (name, template) in lets {
            if let Some(binding) = self.bound(name, template, if current.names.is_empty() { scope } else { &current }) {
                let mut names = current.names.clone();
                names.push(binding);
                current = self.scope(names, current.parent.clone());
            }
        }
        current
    }

    /// Evaluates what a name stands for; one expression keeps its tracked form.
    fn bound(&mut self, name: &str, template: &Template, scope: &Arc<Scope>) -> Option<Binding> {
        let (value, paths) = match template {
            Template::Scalar(scalar) => self.scalar_with_paths(scalar, scope)?,
            other => {
                let own = self.trace.is_some().then(Trace::default);
                let trace = std::mem::replace(&mut self.trace, own);
                let value = self.value(other, scope);
                let inside = std::mem::replace(&mut self.trace, trace);
                let paths = inside.into_iter().flat_map(|trace| trace.fields).flat_map(|field| field.reads).collect();
                (value.map_or_else(|| Value::from(()), |json| from_json(&json)), paths)
            }
        };
        Some(Binding { name: Arc::from(name), value, paths })
    }

    /// Lists the scopes of a `$for`, one for each element.
    fn repeated(&mut self, repeat: &Loop, scope: &Arc<Scope>) -> Vec<Arc<Scope>> {
        let elements = self.elements(&repeat.items, scope);
        let count = elements.len();
        elements.into_iter().enumerate().map(|(index, element)| self.bind(&repeat.names, element, (index, count), scope)).collect()
    }

    /// Binds one element; a map's entries stand as `key` and `value`.
    pub(crate) fn bind(&self, names: &[String], element: Element, (index, count): (usize, usize), scope: &Arc<Scope>) -> Arc<Scope> {
        let tracked = |value: Arc<Tracked>| Value::from_dyn_object(value.rebound(&self.recorder));
        let (values, paths) = match (element, names.len() > 1) {
            (Element::Entry(key, value), false) => {
                (vec![Value::from_pairs([("key", Value::from(key)), ("value", tracked(value))])], Vec::new())
            }
            (Element::Entry(key, value), true) => (vec![Value::from(key), tracked(value)], Vec::new()),
            (Element::Tracked(value), _) => (vec![tracked(value)], Vec::new()),
            (Element::Plain(value, paths), false) => (vec![value], paths),
            (Element::Plain(value, paths), true) => (["key", "value"].map(|part| value.get_attr(part).unwrap_or_default()).into(), paths),
        };
        let bound = |(name, value): (&String, Value)| Binding { name: Arc::from(name.as_str()), value, paths: paths.clone() };
        let mut bound: Vec<Binding> = names.iter().zip(values).map(bound).collect();
        let position = [("index0", index), ("index", index + 1), ("length", count)].map(|(name, number)| (name, Value::from(number)));
        let edges = [("first", Value::from(index == 0)), ("last", Value::from(index + 1 == count))];
        bound.push(Binding::new("loop", Value::from_pairs(position.into_iter().chain(edges))));
        self.scope(bound, Some(scope.clone()))
    }

    /// Lists the elements of `$for`.
    pub(crate) fn elements(&mut self, items: &Scalar, scope: &Arc<Scope>) -> Vec<Element> {
        let Some((value, paths)) = self.scalar_with_paths(items, scope) else { return Vec::new() };
        if let Some(tracked) = value.downcast_object::<Tracked>() {
            // Reading an element that is no container notes its own path.
            let element = |child: Value, key: Option<&str>| match (child.downcast_object::<Tracked>(), key) {
                (Some(child), Some(key)) => Element::Entry(Arc::from(key), child),
                (Some(child), None) => Element::Tracked(child),
                (None, Some(key)) => Element::Plain(pair(Value::from(key), child), self.recorder.take_paths()),
                (None, None) => Element::Plain(child, self.recorder.take_paths()),
            };
            // Asking for the length notes that the keys are read.
            let _ = value.len();
            return match tracked.json() {
                Json::Object(map) => map.keys().filter_map(|key| Some(element(tracked.key(key)?, Some(key)))).collect(),
                Json::Array(list) => (0..list.len()).filter_map(|index| Some(element(tracked.index(index)?, None))).collect(),
                _ => Vec::new(),
            };
        }
        let pairs = value.kind() == minijinja::value::ValueKind::Map;
        match value.try_iter() {
            Ok(list) if pairs => list
                .map(|key| {
                    let inner = value.get_item(&key).unwrap_or_default();
                    Element::Plain(pair(key, inner), paths.clone())
                })
                .collect(),
            Ok(list) => list.map(|item| Element::Plain(item, paths.clone())).collect(),
            Err(_) => {
                let kind = value.kind();
                self.fail(items.place, Failure::plain("for-items", format!("`$for` needs a list or a map; this is a {kind}")));
                Vec::new()
            }
        }
    }

    fn json(&mut self, scalar: &Scalar, scope: &Arc<Scope>) -> Option<Json> {
        // What conditions read before belongs to no field.
        self.recorder.take_paths();
        let value = self.scalar(scalar, scope)?;
        match to_json(&value) {
            Ok(json) => {
                let reads = self.recorder.take_paths();
                self.note(scalar.place, reads);
                Some(json)
            }
            Err(failure) => {
                self.fail(scalar.place, failure);
                None
            }
        }
    }

    fn scalar_with_paths(&mut self, scalar: &Scalar, scope: &Arc<Scope>) -> Option<(Value, Vec<String>)> {
        self.recorder.take_paths();
        let value = self.scalar(scalar, scope)?;
        Some((value, self.recorder.take_paths()))
    }

    fn scalar(&mut self, scalar: &Scalar, scope: &Arc<Scope>) -> Option<Value> {
        match self.machine.evaluate(scalar.slot, scope) {
            Ok(value) => Some(value),
            Err(failure) => {
                self.fail(scalar.place, failure);
                None
            }
        }
    }

    fn fail(&mut self, place: Place, failure: Failure) {
        let origin = located(self.sources, &self.templates.tree.origin(place), failure.needle.as_deref());
        self.findings.push(Finding { help: failure.help, ..Finding::fatal(failure.code, failure.message).at(origin) });
    }

    fn enter(&mut self, step: impl FnOnce() -> String) -> usize {
        self.trace.as_mut().map_or(0, |trace| {
            let mark = trace.pointer.len();
            trace.pointer.push_str(&step());
            mark
        })
    }

    fn leave(&mut self, mark: usize) {
        if let Some(trace) = &mut self.trace {
            trace.pointer.truncate(mark);
        }
    }

    fn note(&mut self, place: Place, reads: Vec<String>) {
        if let Some(trace) = &mut self.trace {
            trace.fields.push(TracedField { pointer: trace.pointer.clone(), place, reads });
        }
    }
}

impl Failure {
    pub(crate) fn plain(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, needle: None }
    }
}

fn pair(key: Value, value: Value) -> Value {
    Value::from_pairs([("key", key), ("value", value)])
}

fn merge_into(map: &mut Map<String, Json>, key: String, value: Json) {
    match (map.get_mut(&key), value) {
        (Some(Json::Object(below)), Json::Object(above)) => above.into_iter().for_each(|(key, value)| merge_into(below, key, value)),
        (Some(slot), value) => *slot = value,
        (None, value) => {
            map.insert(key, value);
        }
    }
}

/// Moves a place to where `needle` stands in the same scalar, if it is found within the next lines.
pub(crate) fn located(sources: &Sources, origin: &Origin, needle: Option<&str>) -> Origin {
    let find = || {
        let needle = needle?;
        let first = usize::try_from(origin.line).ok()?.checked_sub(1)?;
        let start = usize::try_from(origin.column).ok()?.checked_sub(1)?;
        let lines = sources.text(&origin.file)?.lines().enumerate().skip(first).take(12);
        lines
            .filter_map(|(number, line)| {
                let skipped: usize = if number == first { line.chars().take(start).map(char::len_utf8).sum() } else { 0 };
                let at = line.get(skipped..)?.find(needle)? + skipped;
                let column = line.get(..at)?.chars().count() + 1;
                Some(Origin::new(origin.file.clone(), u32::try_from(number + 1).ok()?, u32::try_from(column).ok()?))
            })
            .next()
    };
    find().unwrap_or_else(|| origin.clone())
}
