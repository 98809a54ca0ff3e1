use std::borrow::Cow;
use std::time::Duration;

use provision_model::parse_period;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as text: `15s`, `5m`, `1h30m`, `250ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(String);

impl Period {
    /// Returns the length.
    pub fn duration(&self) -> Duration {
        parse_period(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match parse_period(&text) {
            Some(_) => Ok(Self(text)),
            None => Err(format!("`{text}` is no length of time such as `15s`, `5m` or `1h30m`")),
        }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: `15s`, `5m`, `1h30m`, `250ms`.",
            "format": "period",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

/// An amount of a resource as Kubernetes writes it: `500m`, `2Gi`, `0.5`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(String);

impl TryFrom<String> for Quantity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_quantity(&text) { Ok(Self(text)) } else { Err(format!("`{text}` is no quantity such as `500m`, `2Gi` or `0.5`")) }
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// Tells whether a text is a Kubernetes quantity.
pub(crate) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let exponent = || {
        let tail = suffix.strip_prefix(['e', 'E'])?;
        let tail = tail.strip_prefix(['+', '-']).unwrap_or(tail);
        (!tail.is_empty() && tail.chars().all(|c| c.is_ascii_digit())).then_some(())
    };
    digits > 0
        && number.matches('.').count() <= 1
        && (matches!(suffix, "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei")
            || exponent().is_some())
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An amount of a resource: `500m`, `2Gi`, `0.5`.",
            "format": "quantity",
            "pattern": "^[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        })
    }
}

/// A whole number, or text such as `25%` or a port's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IntOrText {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_add_up_and_nonsense_is_none() {
        for (text, seconds) in [("15s", 15.0), ("1h30m", 5400.0), ("250ms", 0.25), ("0s", 0.0), ("7d", 604_800.0)] {
            assert_eq!(parse_period(text).map(|d| d.as_secs_f64()), Some(seconds), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1x", "-1s", "1.5h", "99999999999999999999h", "99999999999999999h"] {
            assert_eq!(parse_period(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for text in ["500m", "2Gi", "0.5", "1", "1e3", "+1", "100k", "1.5Ti", "12E"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "2GB", "Gi", "1 Gi", "1.2.3", "m", "1e", "ten"] {
            assert!(!is_quantity(text), "{text}");
        }
    }
}
