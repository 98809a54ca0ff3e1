//! The walk over one object: every difference from its schema, with its path.

mod limits;
mod lists;
mod scalars;

use provision_model::{FieldPath, FieldSegment, Finding, ResourceId, SecretRef, Severity};
use serde_json::{Map, Value};

use super::node::{Node, NodeId, Object, Shape};
use super::path::Path;
use super::{SchemaFinding, SchemaSubject};
use crate::suggest::{listed, nearest};

/// The schema of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root<'n> {
    pub(super) nodes: &'n [Node],
    pub(super) node: NodeId,
    /// The table that `metadata` is in, and its place there.
    pub(super) metadata: Option<(&'n [Node], NodeId)>,
    pub(super) namespaced: bool,
    /// The API server ignores `status` in a manifest.
    pub(super) status_apart: bool,
    /// A missing `spec` counts as an empty one, as for built-in kinds.
    pub(super) spec_filled: bool,
}

/// The object that is being walked and what was found so far.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    root: Root<'a>,
    /// The table that the walk is in: that of `root`, or the one of `metadata`.
    nodes: &'a [Node],
    subject: &'a SchemaSubject<'a>,
    place: usize,
    /// Values must not be repeated in messages.
    secret: bool,
    resource: Option<ResourceId>,
    found: &'a mut Vec<SchemaFinding>,
}

/// Checks one object against the schema of its kind.
pub(super) fn object<'a>(root: Root<'a>, subject: &'a SchemaSubject<'a>, place: usize, found: &'a mut Vec<SchemaFinding>) {
    let secret = subject.manifest.kind() == "Secret" && subject.manifest.api_version() == "v1";
    Walk { root, nodes: root.nodes, subject, place, secret, resource: None, found }.object();
}

impl<'a> Walk<'a> {
    fn object(&mut self) {
        let root = self.root;
        let Some(map) = self.subject.manifest.value().as_object() else { return };
        if !root.namespaced && self.subject.manifest.namespace().is_some() {
            let metadata = Path::Key(&Path::Root, "metadata");
            let path = Path::Key(&metadata, "namespace");
            let message = format!("{} is set, but {} belongs to no namespace", quoted(&path), self.kind());
            self.report("invalid-value", &path, message, Some("leave the namespace out".to_owned()));
        }
        let nodes = self.nodes;
        let Shape::Object(object) = &nodes[root.node.0].shape else { return };
        for (key, value) in map {
            let path = Path::Key(&Path::Root, key);
            match key.as_str() {
                "apiVersion" | "kind" => {}
                "status" if root.status_apart => {}
                "metadata" => self.metadata(value),
                "data" if self.secret => self.secret_data(value, &path),
                _ => self.entry(object, (key, value), &Path::Root),
            }
        }
        self.missing(object, map, &Path::Root, |name| {
            ["apiVersion", "kind", "metadata"].contains(&name) || (name == "status" && root.status_apart)
        });
        if root.spec_filled && !map.contains_key("spec") {
            self.missing_spec(object);
        }
    }

    fn metadata(&mut self, value: &Value) {
        let Some((nodes, node)) = self.root.metadata else { return };
        let own = std::mem::replace(&mut self.nodes, nodes);
        self.value(node, value, &Path::Key(&Path::Root, "metadata"));
        self.nodes = own;
    }

    /// Checks `data` of a Secret, where a reference to a secret value stands for the text that it becomes.
    fn secret_data(&mut self, value: &Value, path: &Path<'_>) {
        let Value::Object(entries) = value else {
            return self.wrong_type(path, value, Shape::Map(NodeId(0)).expected());
        };
        for (key, value) in entries {
            if SecretRef::from_value(value).is_none() {
                self.scalar(&Shape::Bytes, value, &Path::Key(path, key));
            }
        }
    }

    fn missing_spec(&mut self, object: &Object) {
        let Some(Shape::Object(spec)) = object.fields.get("spec").map(|id| &self.nodes[id.0].shape) else { return };
        if !spec.required.is_empty() {
            let needs = listed(spec.required.iter().map(String::as_str));
            let path = Path::Key(&Path::Root, "spec");
            self.report("missing-field", &path, format!("`spec` is missing; it needs {needs}"), None);
        }
    }

    fn value(&mut self, id: NodeId, value: &Value, path: &Path<'_>) {
        let nodes = self.nodes;
        let node = &nodes[id.0];
        if value.is_null() {
            if !matches!(node.shape, Shape::Any) && !node.limits.as_ref().is_some_and(|limits| limits.nullable) && !is_creation_time(path) {
                self.null(&node.shape, path);
            }
            return;
        }
        let before = self.found.len();
        match &node.shape {
            Shape::Any => {}
            Shape::Map(of) => match value {
                Value::Object(entries) => entries.iter().for_each(|(key, value)| self.value(*of, value, &Path::Key(path, key))),
                _ => self.wrong_type(path, value, node.shape.expected()),
            },
            Shape::Object(object) => match value {
                Value::Object(map) => {
                    map.iter().for_each(|entry| self.entry(object, entry, path));
                    self.missing(object, map, path, |_| false);
                }
                _ => self.wrong_type(path, value, node.shape.expected()),
            },
            Shape::List(list) => match value {
                Value::Array(items) => self.list(list, items, path),
                _ => self.wrong_type(path, value, node.shape.expected()),
            },
            shape => self.scalar(shape, value, path),
        }
        if let Some(limits) = &node.limits
            && self.found.len() == before
        {
            self.limits(limits, value, path);
        }
    }

    fn entry(&mut self, object: &Object, (key, value): (&String, &Value), parent: &Path<'_>) {
        let path = Path::Key(parent, key);
        match object.fields.get(key) {
            Some(node) => self.value(*node, value, &path),
            None if object.open => {}
            None => {
                let message = format!("{} is no field of {}", quoted(&path), self.kind());
                let help = self.meant(object, key, &path);
                self.report("unknown-field", &path, message, Some(help));
            }
        }
    }

    /// Says which field was probably meant: a near name, the same name elsewhere on the way or one level deeper, or else what is known.
    fn meant(&self, object: &Object, key: &str, path: &Path<'_>) -> String {
        if let Some(name) = nearest(key, object.fields.keys().map(String::as_str)) {
            return format!("did you mean `{name}`?");
        }
        let deeper = object.fields.iter().find(|(name, id)| {
            name.as_str() != "status" && matches!(&self.nodes[id.0].shape, Shape::Object(inner) if inner.fields.contains_key(key))
        });
        match deeper {
            Some((name, _)) => format!("`{key}` is a field of `{name}`: indent it"),
            None => match self.above(key, path) {
                Some(owner) => format!("`{key}` is a field of {owner}: indent it less"),
                None if object.fields.is_empty() => "no field is known here".to_owned(),
                None => format!("known here: {}", listed(object.fields.keys().map(String::as_str))),
            },
        }
    }

    /// Finds the nearest map around the field that knows `key`.
    fn above(&self, key: &str, path: &Path<'_>) -> Option<String> {
        let segments = path.to_field().0;
        let (mut node, mut owner) = (self.root.node, None);
        for (depth, segment) in segments.iter().enumerate() {
            node = match (&self.root.nodes[node.0].shape, segment) {
                (Shape::Object(object), FieldSegment::Key(name)) => {
                    if object.fields.contains_key(key) {
                        owner = Some(depth);
                    }
                    match object.fields.get(name) {
                        Some(inner) => *inner,
                        None => break,
                    }
                }
                (Shape::Map(of), FieldSegment::Key(_)) => *of,
                (Shape::List(list), FieldSegment::Index(_)) => list.of,
                _ => break,
            };
        }
        match owner? {
            0 => Some("the object itself".to_owned()),
            depth => Some(format!("`{}`", FieldPath(segments[..depth].to_vec()))),
        }
    }

    fn missing(&mut self, object: &Object, map: &Map<String, Value>, path: &Path<'_>, given: impl Fn(&str) -> bool) {
        for name in &object.required {
            if !map.contains_key(name) && !given(name) {
                let field = Path::Key(path, name);
                let message = format!("{} is missing", quoted(&field));
                self.report("missing-field", &field, message, None);
            }
        }
    }

    fn null(&mut self, shape: &Shape, path: &Path<'_>) {
        let help = match shape {
            Shape::Map(_) | Shape::Object(_) => "leave the field out, or write `{}` for the empty map",
            Shape::List(_) => "leave the field out, or write `[]` for the empty list",
            _ => "leave the field out, or give it a value",
        };
        self.report("wrong-type", path, format!("{} is null; expected {}", quoted(path), shape.expected()), Some(help.to_owned()));
    }

    fn wrong_type(&mut self, path: &Path<'_>, value: &Value, expected: &str) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) if SecretRef::from_value(value).is_some() => "a reference to a secret",
            Value::Object(_) => "a map",
        };
        let help = match (value, expected) {
            (Value::Bool(_) | Value::Number(_), "a text") => Some("put it in quotes"),
            (Value::String(text), "a whole number") if text.parse::<i64>().is_ok() => Some("leave the quotes out"),
            (Value::String(text), "`true` or `false`") if text == "true" || text == "false" => Some("leave the quotes out"),
            (Value::Object(_), _) if found == "a reference to a secret" => Some("a reference may stand only under `data` of a Secret"),
            _ => None,
        };
        self.report("wrong-type", path, format!("{} is {found}; expected {expected}", quoted(path)), help.map(str::to_owned));
    }

    fn report(&mut self, code: &str, path: &Path<'_>, message: String, help: Option<String>) {
        let manifest = self.subject.manifest;
        let resource = self.resource.get_or_insert_with(|| manifest.id()).clone();
        let mut finding = Finding::new(Severity::Fatal, code, message).on(resource).at(self.subject.origin.clone());
        finding.help = help;
        self.found.push(SchemaFinding { finding, subject: self.place, field: Some(path.to_field()) });
    }

    fn kind(&self) -> String {
        format!("`{}` {}", self.subject.manifest.api_version(), self.subject.manifest.kind())
    }
}

/// Go programs write `creationTimestamp: null` into everything that they generate, and the API server takes it.
fn is_creation_time(path: &Path<'_>) -> bool {
    matches!(path, Path::Key(Path::Key(_, "metadata"), "creationTimestamp"))
}

fn quoted(path: &Path<'_>) -> String {
    format!("`{}`", path.to_field())
}
