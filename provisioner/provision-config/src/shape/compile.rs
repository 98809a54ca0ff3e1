use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Field, Format, Shape};

/// Turns a JSON Schema as schemars writes it into a shape.
///
/// Invariant of the input: references are not recursive (settings are a finite tree).
pub(crate) fn compile(schema: &Value) -> Arc<Shape> {
    let empty = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    Arc::new(shape(schema, definitions))
}

fn shape(schema: &Value, definitions: &Map<String, Value>) -> Shape {
    let Some(map) = schema.as_object() else { return Shape::Any };
    if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        return definitions.get(name).map_or(Shape::Any, |definition| shape(definition, definitions));
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(variants) = map.get(union).and_then(Value::as_array) {
            return union_of(variants, definitions);
        }
    }
    match map.get("type") {
        Some(Value::Array(types)) => {
            let mut plain = map.clone();
            let named: Vec<&Value> = types.iter().filter(|name| *name != "null").collect();
            let [one] = named.as_slice() else { return Shape::Any };
            plain.insert("type".to_owned(), (*one).clone());
            Shape::Nullable(Arc::new(shape(&Value::Object(plain), definitions)))
        }
        Some(Value::String(name)) => typed(name, map, definitions),
        _ => Shape::Any,
    }
}

fn typed(name: &str, map: &Map<String, Value>, definitions: &Map<String, Value>) -> Shape {
    match name {
        "boolean" => Shape::Bool,
        "number" => Shape::Number,
        "integer" => Shape::Int { min: map.get("minimum").and_then(Value::as_i64), max: map.get("maximum").and_then(Value::as_i64) },
        "string" => Shape::Text { format: format(map), words: words(map) },
        "array" => Shape::List {
            item: Arc::new(map.get("items").map_or(Shape::Any, |items| shape(items, definitions))),
            merge_key: map.get("x-merge-key").and_then(Value::as_str).map(str::to_owned),
        },
        "object" => object(map, definitions),
        _ => Shape::Any,
    }
}

fn format(map: &Map<String, Value>) -> Option<Format> {
    match map.get("format").and_then(Value::as_str)? {
        "period" => Some(Format::Period),
        "quantity" => Some(Format::Quantity),
        "kubernetes-minor" => Some(Format::KubernetesMinor),
        "image-digest" => Some(Format::ImageDigest),
        _ => None,
    }
}

fn words(map: &Map<String, Value>) -> Vec<String> {
    let listed = map.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().chain(map.get("const")).filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn object(map: &Map<String, Value>, definitions: &Map<String, Value>) -> Shape {
    let required = map.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let fields = map.get("properties").and_then(Value::as_object).map(|properties| {
        let field = |(name, schema): (&String, &Value)| Field {
            name: name.clone(),
            shape: Arc::new(shape(schema, definitions)),
            required: required.iter().any(|wanted| wanted == name.as_str()),
            program: schema.get("x-read-by-program") == Some(&Value::Bool(true)),
        };
        properties.iter().map(field).collect()
    });
    let rest = match map.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        Some(schema) => Some(Arc::new(shape(schema, definitions))),
        None => Some(Arc::new(Shape::Any)),
    };
    Shape::Map { fields: fields.unwrap_or_default(), rest }
}

fn union_of(variants: &[Value], definitions: &Map<String, Value>) -> Shape {
    let is_null = |variant: &&Value| variant.get("type") == Some(&Value::from("null"));
    let rest: Vec<&Value> = variants.iter().filter(|variant| !is_null(variant)).collect();
    let inner = match rest.as_slice() {
        [one] => shape(one, definitions),
        many if many.iter().all(|variant| is_word(variant)) => {
            let words = many.iter().filter_map(|variant| variant.as_object()).flat_map(words).collect();
            Shape::Text { format: None, words }
        }
        many => match tag_of(many) {
            Some(tag) => {
                let variants = many.iter().filter_map(|variant| {
                    let word = variant.get("properties")?.get(&tag)?.get("const")?.as_str()?;
                    Some((word.to_owned(), Arc::new(shape(variant, definitions))))
                });
                Shape::Tagged { variants: variants.collect(), tag }
            }
            None => Shape::OneOf(many.iter().map(|variant| Arc::new(shape(variant, definitions))).collect()),
        },
    };
    if rest.len() < variants.len() { Shape::Nullable(Arc::new(inner)) } else { inner }
}

fn is_word(variant: &Value) -> bool {
    variant.get("type") == Some(&Value::from("string")) && (variant.get("const").is_some() || variant.get("enum").is_some())
}

fn tag_of(variants: &[&Value]) -> Option<String> {
    let properties = variants.first()?.get("properties")?.as_object()?;
    let is_tag = |name: &&String| variants.iter().all(|v| v.pointer(&format!("/properties/{name}/const")).is_some_and(Value::is_string));
    properties.keys().find(is_tag).cloned()
}
