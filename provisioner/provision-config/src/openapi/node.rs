//! Schemas as a flat table: nodes refer to each other by their place, so that shared and recursive types cost nothing.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// A place in a table of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct NodeId(pub(super) usize);

/// What a value must look like.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shape {
    Any,
    String,
    /// Base64.
    Bytes,
    /// RFC 3339.
    Time,
    Int32,
    Int64,
    Number,
    Boolean,
    Quantity,
    IntOrString,
    Enum(Vec<String>),
    Map(NodeId),
    List(List),
    Object(Object),
}

/// A list, and what no two of its items may share.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    pub(super) of: NodeId,
    /// Fields that together tell items apart.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    /// What an absent key counts as.
    #[serde(default)]
    pub(super) defaults: BTreeMap<String, String>,
    /// No value stands twice.
    #[serde(default)]
    pub(super) set: bool,
    /// One more field that no two items share.
    #[serde(default)]
    pub(super) unique: Option<String>,
}

/// A map with known fields.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) fields: BTreeMap<String, NodeId>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    /// Other fields are kept, not refused.
    #[serde(default)]
    pub(super) open: bool,
}

/// A shape with the limits that only custom resources declare.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) shape: Shape,
    pub(super) limits: Option<Box<Limits>>,
}

/// What a schema of a custom resource allows beyond the shape.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// `null` is a value, or stands for the default.
    pub(super) nullable: bool,
    pub(super) values: Vec<Value>,
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
    /// The bounds themselves are not allowed: (least, most).
    pub(super) exclusive: (bool, bool),
    /// Least and most length of a text in characters, of a list in items, of a map in entries.
    pub(super) length: (Option<u64>, Option<u64>),
    pub(super) pattern: Option<Pattern>,
}

/// A pattern that is compiled when a value first meets it.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(super) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), compiled: OnceLock::new() }
    }

    /// Tells whether `text` fits; a pattern that is no regular expression here is left to the API server.
    pub(super) fn fits(&self, text: &str) -> bool {
        self.compiled.get_or_init(|| Regex::new(&self.source).ok()).as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

impl Shape {
    /// Says in words what is expected.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::String | Self::Enum(_) => "a text",
            Self::Bytes => "a text in base64",
            Self::Time => "a time such as `2026-01-31T12:00:00Z`",
            Self::Int32 | Self::Int64 => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Quantity => "a quantity such as `500m` or `1Gi`",
            Self::IntOrString => "a whole number or a text",
            Self::Map(_) | Self::Object(_) => "a map",
            Self::List(_) => "a list",
        }
    }
}
