use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::openapi::node::{Limits, List, Node, NodeId, Object, Pattern, Shape};
use crate::openapi::path::Path;

/// What a definition says, in the form that values are checked against.
#[derive(Debug, Default)]
pub(in crate::openapi) struct Compiled {
    pub(in crate::openapi) namespaced: bool,
    pub(in crate::openapi) versions: Vec<Version>,
    pub(in crate::openapi) nodes: Vec<Node>,
    /// Where the schemas are not structural, in words.
    pub(in crate::openapi) problems: Vec<String>,
}

/// One version of a custom resource.
#[derive(Debug)]
pub(in crate::openapi) struct Version {
    pub(in crate::openapi) name: String,
    pub(in crate::openapi) served: bool,
    pub(in crate::openapi) root: NodeId,
    /// `status` is written through its own subresource, so that it does not count in a manifest.
    pub(in crate::openapi) status_apart: bool,
}

impl Compiled {
    /// Compiles every served version; what is not structural is noted and then allows any value.
    pub(super) fn of(crd: &Value) -> Self {
        let mut compiled = Self { namespaced: crd.pointer("/spec/scope").and_then(Value::as_str) != Some("Cluster"), ..Self::default() };
        let spec = Path::Key(&Path::Root, "spec");
        let list = Path::Key(&spec, "versions");
        let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if versions.is_empty() {
            compiled.problem(&list, "names no version");
        }
        for (place, version) in versions.iter().enumerate() {
            let path = Path::Index(&list, place);
            let served = version.get("served").and_then(Value::as_bool).unwrap_or(false);
            let schema = Path::Key(&path, "schema");
            let root = match version.pointer("/schema/openAPIV3Schema") {
                Some(root) if served => compiled.node(root, &Path::Key(&schema, "openAPIV3Schema")),
                Some(_) => compiled.push(Shape::Any),
                None => {
                    compiled.problem(&path, "has no `schema.openAPIV3Schema`");
                    compiled.push(Shape::Any)
                }
            };
            compiled.versions.push(Version {
                name: version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                served,
                root,
                status_apart: version.pointer("/subresources/status").is_some(),
            });
        }
        compiled
    }

    fn push(&mut self, shape: Shape) -> NodeId {
        self.nodes.push(Node { shape, limits: None });
        NodeId(self.nodes.len() - 1)
    }

    fn problem(&mut self, path: &Path<'_>, what: &str) {
        self.problems.push(format!("`{}` {what}", path.to_field()));
    }

    fn node(&mut self, schema: &Value, path: &Path<'_>) -> NodeId {
        let Some(map) = schema.as_object() else {
            self.problem(path, "is no schema: a map is expected");
            return self.push(Shape::Any);
        };
        let shape = self.shape(map, path);
        let limits = limits(map, &shape).map(Box::new);
        self.nodes.push(Node { shape, limits });
        NodeId(self.nodes.len() - 1)
    }

    fn shape(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Shape {
        if flag(map, "x-kubernetes-int-or-string") {
            return Shape::IntOrString;
        }
        match (text(map, "type"), text(map, "format")) {
            (Some("string"), Some("byte")) => Shape::Bytes,
            (Some("string"), Some("date-time")) => Shape::Time,
            (Some("string"), _) => words(map).map_or(Shape::String, Shape::Enum),
            (Some("integer"), Some("int32")) => Shape::Int32,
            (Some("integer"), _) => Shape::Int64,
            (Some("number"), _) => Shape::Number,
            (Some("boolean"), _) => Shape::Boolean,
            (Some("array"), _) => self.list(map, path),
            (Some("object"), _) => self.object(map, path),
            (None, _) if open(map) => Shape::Any,
            (None, _) => {
                self.problem(path, "has no `type`");
                Shape::Any
            }
            (Some(other), _) => {
                self.problem(path, &format!("has the unknown type `{other}`"));
                Shape::Any
            }
        }
    }

    fn list(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Shape {
        let Some(items) = map.get("items") else {
            self.problem(path, "is a list without `items`");
            return Shape::Any;
        };
        let of = self.node(items, &Path::Key(path, "items"));
        let keys: Vec<String> = map
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .map_or_else(Vec::new, |keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        let default = |key: &String| {
            let default = items.get("properties")?.get(key)?.get("default")?;
            Some((key.clone(), default.as_str().map_or_else(|| default.to_string(), str::to_owned)))
        };
        let defaults: BTreeMap<String, String> = keys.iter().filter_map(default).collect();
        Shape::List(List { of, defaults, keys, set: text(map, "x-kubernetes-list-type") == Some("set"), unique: None })
    }

    fn object(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Shape {
        let properties = map.get("properties").and_then(Value::as_object);
        match (properties, map.get("additionalProperties")) {
            (Some(properties), None | Some(Value::Bool(false))) => self.fields(map, properties, path),
            (Some(properties), Some(_)) => {
                self.problem(path, "has both `properties` and `additionalProperties`");
                self.fields(map, properties, path)
            }
            (None, Some(inner @ Value::Object(_))) => Shape::Map(self.node(inner, &Path::Key(path, "additionalProperties"))),
            (None, Some(Value::Bool(true))) => Shape::Map(self.push(Shape::Any)),
            (None, _) => self.fields(map, &Map::new(), path),
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, properties: &Map<String, Value>, path: &Path<'_>) -> Shape {
        let parent = Path::Key(path, "properties");
        let mut fields = BTreeMap::new();
        if flag(map, "x-kubernetes-embedded-resource") {
            for (name, shape) in [("apiVersion", Shape::String), ("kind", Shape::String), ("metadata", Shape::Any)] {
                fields.insert(name.to_owned(), self.push(shape));
            }
        }
        for (name, schema) in properties {
            fields.insert(name.clone(), self.node(schema, &Path::Key(&parent, name)));
        }
        // The API server fills defaults in before it asks for required fields.
        let filled = |name: &str| properties.get(name).is_some_and(|schema| schema.get("default").is_some());
        let required = map.get("required").and_then(Value::as_array).map_or_else(Vec::new, |names| {
            names.iter().filter_map(Value::as_str).filter(|name| !filled(name)).map(str::to_owned).collect()
        });
        Shape::Object(Object { fields, required, open: open(map) })
    }
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> Option<&'m str> {
    map.get(key).and_then(Value::as_str)
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn open(map: &Map<String, Value>) -> bool {
    flag(map, "x-kubernetes-preserve-unknown-fields")
}

/// Returns the words of an `enum` that holds nothing but text.
fn words(map: &Map<String, Value>) -> Option<Vec<String>> {
    map.get("enum")?.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

fn limits(map: &Map<String, Value>, shape: &Shape) -> Option<Limits> {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let count = |key: &str| map.get(key).and_then(Value::as_u64);
    let values = match shape {
        Shape::Enum(_) => Vec::new(),
        _ => map.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
    };
    let length = match shape {
        Shape::List(_) => (count("minItems"), count("maxItems")),
        Shape::Map(_) | Shape::Object(_) => (count("minProperties"), count("maxProperties")),
        _ => (count("minLength"), count("maxLength")),
    };
    let limits = Limits {
        // A null is taken for absent, and the default stands in.
        nullable: flag(map, "nullable") || map.contains_key("default"),
        values,
        least: number("minimum"),
        most: number("maximum"),
        exclusive: (flag(map, "exclusiveMinimum"), flag(map, "exclusiveMaximum")),
        length,
        pattern: text(map, "pattern").map(Pattern::new),
    };
    let any = limits.nullable
        || !limits.values.is_empty()
        || limits.least.is_some()
        || limits.most.is_some()
        || limits.length != (None, None)
        || limits.pattern.is_some();
    any.then_some(limits)
}
