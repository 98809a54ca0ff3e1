//! The schema of settings in the form in which trees are walked with it.

mod compile;
mod walk;

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::Settings;

pub(crate) use walk::{Walk, missing_allowed};

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    Bool,
    Number,
    Int {
        min: Option<i64>,
        max: Option<i64>,
    },
    Text {
        format: Option<Format>,
        words: Vec<String>,
    },
    Map {
        fields: Vec<Field>,
        rest: Option<Arc<Shape>>,
    },
    List {
        item: Arc<Shape>,
        merge_key: Option<String>,
    },
    /// A map whose key `tag` says which of the shapes it has.
    Tagged {
        tag: String,
        variants: Vec<(String, Arc<Shape>)>,
    },
    OneOf(Vec<Arc<Shape>>),
    Nullable(Arc<Shape>),
}

/// A key that a map may have.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) shape: Arc<Shape>,
    pub(crate) required: bool,
    /// Whether the program reads it, so that no template has to.
    pub(crate) program: bool,
}

/// A form of text that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Period,
    Quantity,
    KubernetesMinor,
    ImageDigest,
}

impl Format {
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Period => "a length of time such as `15s`, `5m` or `1h30m`",
            Self::Quantity => "a quantity such as `500m`, `2Gi` or `0.5`",
            Self::KubernetesMinor => "a minor version such as `1.36`",
            Self::ImageDigest => "a digest: `sha256:` and 64 hex digits",
        }
    }

    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Period => provision_model::parse_period(text).is_some(),
            Self::Quantity => crate::settings::is_quantity(text),
            Self::KubernetesMinor => text.strip_prefix("1.").is_some_and(|minor| minor.len() <= 3 && minor.parse::<u16>().is_ok()),
            Self::ImageDigest => text
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))),
        }
    }
}

impl Shape {
    /// Returns the shape below optional ones.
    pub(crate) fn inner(&self) -> &Self {
        match self {
            Self::Nullable(inner) => inner.inner(),
            other => other,
        }
    }

    /// Returns the shape under a key, and whether the key is one of a map with free keys.
    pub(crate) fn under(&self, key: &str) -> Option<(&Arc<Self>, bool)> {
        match self.inner() {
            Self::Map { fields, rest } => match fields.iter().find(|field| field.name == key) {
                Some(field) => Some((&field.shape, false)),
                None => rest.as_ref().map(|rest| (rest, true)),
            },
            Self::Tagged { variants, .. } => variants.iter().find_map(|(_, variant)| variant.under(key)),
            _ => None,
        }
    }

    /// Says in a few words what is expected.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Any => "any value".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Int { .. } => "a whole number".to_owned(),
            Self::Text { format: Some(format), .. } => format.example().to_owned(),
            Self::Text { words, .. } if !words.is_empty() => format!("one of {}", crate::suggest::listed(words.iter().map(String::as_str))),
            Self::Text { .. } => "a text".to_owned(),
            Self::Map { .. } | Self::Tagged { .. } => "a map".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::OneOf(shapes) => shapes.iter().map(|shape| shape.expected()).collect::<Vec<_>>().join(" or "),
            Self::Nullable(inner) => inner.expected(),
        }
    }
}

/// Returns the JSON Schema of environment files, for editors.
pub fn json_schema() -> Value {
    Value::from(schemars::schema_for!(Settings))
}

/// Returns the shape of the settings, made once.
pub(crate) fn settings_shape() -> &'static Arc<Shape> {
    static SHAPE: OnceLock<Arc<Shape>> = OnceLock::new();
    SHAPE.get_or_init(|| compile::compile(&json_schema()))
}
