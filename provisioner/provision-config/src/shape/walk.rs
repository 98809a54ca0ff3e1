use std::collections::HashMap;

use provision_model::Finding;
use serde_json::{Map, Value};

use super::Shape;
use crate::path;
use crate::suggest::{listed, nearest};
use crate::tree::{Content, Entry, MergeTag, NodeId, Place, Tree, is_plain_null, plain_value};

/// Whether keys that must be there may be missing, because other layers may have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MissingAllowed(bool);

/// Builds the choice whether required keys may be missing.
pub(crate) fn missing_allowed(allowed: bool) -> MissingAllowed {
    MissingAllowed(allowed)
}

/// One walk over a tree along a shape: gives the typed value and collects everything that does not fit.
pub(crate) struct Walk<'t> {
    tree: &'t Tree,
    /// Roots of all layers, to tell where a known key is set.
    layers: &'t [NodeId],
    missing: MissingAllowed,
    /// Key under which the value stands that is walked next.
    key_place: Option<Place>,
    pub(crate) findings: Vec<Finding>,
}

impl<'t> Walk<'t> {
    pub(crate) fn new(tree: &'t Tree, layers: &'t [NodeId], missing: MissingAllowed) -> Self {
        Self { tree, layers, missing, key_place: None, findings: Vec::new() }
    }

    /// Types a node by its shape; what does not fit becomes a finding and null.
    pub(crate) fn value(&mut self, node: NodeId, shape: &Shape, path: &str) -> Value {
        if self.tree.node(node).tag == Some(MergeTag::Delete) {
            return Value::Null;
        }
        match (shape, &self.tree.node(node).content) {
            (Shape::Nullable(_), Content::Scalar { text, plain: true }) if is_plain_null(text) => Value::Null,
            (Shape::Nullable(inner), _) => self.value(node, inner, path),
            (Shape::Any, _) => self.tree.json(node),
            (Shape::Map { fields, .. }, Content::Map(entries)) => {
                let place = self.key_place.take().unwrap_or(self.tree.node(node).place);
                let value = self.map(shape, entries, path);
                let complain = !self.missing.0;
                let missing = |name: &str| complain && !entries.iter().any(|entry| entry.key == name);
                for field in fields.iter().filter(|field| field.required && missing(&field.name)) {
                    self.missing_key(place, &field.name, path);
                }
                value
            }
            (Shape::List { item, merge_key }, Content::List(items)) => {
                self.key_place = None;
                if let Some(key) = merge_key {
                    self.repeated(items, key, path);
                }
                Value::Array(items.iter().enumerate().map(|(place, node)| self.value(*node, item, &format!("{path}[{place}]"))).collect())
            }
            (Shape::Tagged { tag, variants }, Content::Map(_)) => {
                let word = self.tree.entry(node, tag).and_then(|entry| self.tree.text(entry.value));
                match word.and_then(|word| variants.iter().find(|(name, _)| name == word)) {
                    Some((_, variant)) => self.value(node, &variant.clone(), path),
                    None => self.bad_tag(node, tag, variants.iter().map(|(name, _)| name.as_str()), path),
                }
            }
            (Shape::OneOf(shapes), _) => self.one_of(node, shape, shapes, path),
            (_, Content::Scalar { text, plain }) => self.scalar(node, shape, (text, *plain), path),
            _ => self.wrong_type(node, shape, path),
        }
    }

    /// Reports items of a keyed list that have the key of another one: merged, one of them would be lost.
    fn repeated(&mut self, items: &[NodeId], key: &str, path: &str) {
        let name = |item: &NodeId| self.tree.entry(*item, key).and_then(|entry| self.tree.text(entry.value));
        let mut known: HashMap<&str, NodeId> = HashMap::new();
        let mut twice = Vec::new();
        for (text, item) in items.iter().filter_map(|item| Some((name(item)?, *item))) {
            match known.get(text) {
                Some(first) => twice.push((text, item, *first)),
                None => {
                    known.insert(text, item);
                }
            }
        }
        for (text, item, first) in twice {
            let [here, there] = [item, first].map(|node| self.tree.origin(self.tree.node(node).place));
            let message = format!("`{path}` has two items with the {key} `{text}`; first at line {}", there.line);
            self.findings.push(Finding::fatal("duplicate-item", message).at(here).at(there));
        }
    }

    fn map(&mut self, shape: &Shape, entries: &[Entry], path: &str) -> Value {
        let mut map = Map::new();
        for entry in entries {
            match shape.under(&entry.key) {
                Some((below, _)) => {
                    self.key_place = Some(entry.key_place);
                    let deleted = self.tree.node(entry.value).tag == Some(MergeTag::Delete);
                    let value = self.value(entry.value, below, &path::join(path, &entry.key));
                    self.key_place = None;
                    if !deleted {
                        map.insert(entry.key.clone(), value);
                    }
                }
                None => self.unknown_key(shape, entry, path),
            }
        }
        Value::Object(map)
    }

    fn scalar(&mut self, node: NodeId, shape: &Shape, (text, plain): (&str, bool), path: &str) -> Value {
        match shape {
            Shape::Text { format, words } if !(plain && is_plain_null(text)) => {
                let word_fits = words.is_empty() || words.iter().any(|word| word == text);
                if word_fits && format.is_none_or(|format| format.accepts(text)) {
                    return Value::from(text);
                }
                let help = nearest(text, words.iter().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
                let message = format!("`{path}` is `{text}`; expected {}", shape.expected());
                self.at(node, "wrong-value", message, help)
            }
            Shape::Bool if plain => match plain_value(text) {
                Value::Bool(value) => Value::Bool(value),
                _ => self.wrong_type(node, shape, path),
            },
            Shape::Int { min, max } if plain => match plain_value(text).as_i64() {
                Some(number) if min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max) => Value::from(number),
                Some(number) => {
                    let least = min.map_or(String::new(), |min| format!(", at least {min}"));
                    let most = max.map_or(String::new(), |max| format!(", at most {max}"));
                    self.at(node, "out-of-range", format!("`{path}` is {number}; expected a whole number{least}{most}"), None)
                }
                None => self.wrong_type(node, shape, path),
            },
            Shape::Number if plain && plain_value(text).is_number() => plain_value(text),
            _ => self.wrong_type(node, shape, path),
        }
    }

    /// Takes the first shape that fits; if none does, reports what the last one of the same sort says.
    fn one_of(&mut self, node: NodeId, union: &Shape, shapes: &[std::sync::Arc<Shape>], path: &str) -> Value {
        let mut candidates = Vec::new();
        for shape in shapes {
            let mut attempt = Walk::new(self.tree, self.layers, self.missing);
            let value = attempt.value(node, shape, path);
            if attempt.findings.is_empty() {
                return value;
            }
            let content = &self.tree.node(node).content;
            if matches!((shape.inner(), content), (Shape::Map { .. }, Content::Map(_)) | (Shape::List { .. }, Content::List(_))) {
                candidates.push(attempt.findings);
            }
        }
        match candidates.pop() {
            Some(findings) => {
                self.findings.extend(findings);
                Value::Null
            }
            None => self.wrong_type(node, union, path),
        }
    }

    fn at(&mut self, node: NodeId, code: &str, message: String, help: Option<String>) -> Value {
        let origin = self.tree.origin(self.tree.node(node).place);
        let mut finding = Finding::fatal(code, message).at(origin);
        finding.help = help;
        self.findings.push(finding);
        Value::Null
    }

    fn wrong_type(&mut self, node: NodeId, shape: &Shape, path: &str) -> Value {
        let (found, help) = match &self.tree.node(node).content {
            Content::Map(_) => ("a map".to_owned(), None),
            Content::List(_) => ("a list".to_owned(), None),
            Content::Scalar { text, plain: true } if is_plain_null(text) => ("nothing".to_owned(), None),
            Content::Scalar { text, plain: true } => (format!("`{text}`"), None),
            Content::Scalar { text, plain: false } => {
                let help = matches!(shape, Shape::Int { .. } | Shape::Number | Shape::Bool).then(|| "write it without quotes".to_owned());
                (format!("the text `{text}`"), help)
            }
        };
        let place = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        self.at(node, "wrong-type", format!("{place} is {found}; expected {}", shape.expected()), help)
    }

    fn bad_tag<'n>(&mut self, node: NodeId, tag: &str, names: impl Iterator<Item = &'n str>, path: &str) -> Value {
        let known = listed(names);
        match self.tree.entry(node, tag).map(|entry| entry.value) {
            Some(value) => {
                let text = self.tree.text(value).unwrap_or_default().to_owned();
                self.at(value, "wrong-value", format!("`{}` is `{text}`; expected one of {known}", path::join(path, tag)), None)
            }
            None if self.missing.0 => self.tree.json(node),
            None => self.at(node, "missing-key", format!("`{path}` needs the key `{tag}`, one of {known}"), None),
        }
    }

    fn missing_key(&mut self, at: Place, key: &str, path: &str) {
        let place = if path.is_empty() { "the environment".to_owned() } else { format!("`{path}`") };
        let mut finding = Finding::fatal("missing-key", format!("{place} needs the key `{key}`")).at(self.tree.origin(at));
        finding.help = self.neighbour(path);
        self.findings.push(finding);
    }

    /// Guesses that an incomplete entry is a misspelt one.
    fn neighbour(&self, path: &str) -> Option<String> {
        let (parent, own) = path.rsplit_once('.')?;
        let siblings = self.layers.iter().filter_map(|root| self.find(*root, parent)).flat_map(|node| self.tree.entries(node));
        let other = nearest(own, siblings.map(|entry| entry.key.as_str()).filter(|key| *key != own))?;
        Some(format!("no layer sets it; did you mean `{other}` instead of `{own}`?"))
    }

    fn unknown_key(&mut self, shape: &Shape, entry: &Entry, path: &str) {
        let names: Vec<&str> = match shape {
            Shape::Map { fields, .. } => fields.iter().map(|field| field.name.as_str()).collect(),
            _ => Vec::new(),
        };
        let place = if path.is_empty() { "at the top level".to_owned() } else { format!("in `{path}`") };
        let mut finding =
            Finding::fatal("unknown-key", format!("unknown key `{}` {place}", entry.key)).at(self.tree.origin(entry.key_place));
        finding.help = Some(match nearest(&entry.key, names.iter().copied()) {
            Some(known) => {
                let set: Vec<_> = self
                    .layers
                    .iter()
                    .filter_map(|root| self.tree.entry(self.find(*root, path)?, known))
                    .map(|found| self.tree.origin(found.key_place))
                    .collect();
                let by = match set.last() {
                    Some(origin) => format!(" (set by: {origin})"),
                    None => String::new(),
                };
                finding.origins.extend(set.into_iter().rev());
                format!("did you mean `{known}`?{by}")
            }
            None => format!("known keys: {}", listed(names)),
        });
        self.findings.push(finding);
    }

    fn find(&self, root: NodeId, path: &str) -> Option<NodeId> {
        if path.is_empty() {
            return Some(root);
        }
        path::parse(path).ok()?.iter().try_fold(root, |node, (step, _)| self.tree.step(node, step))
    }
}
