use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest as _;

/// A SHA-256 digest in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no digest: 64 lower-case hex digits are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDigest(pub String);

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no SHA-256 digest: 64 lower-case hex digits are expected", self.0)
    }
}

impl std::error::Error for InvalidDigest {}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_hex) { Ok(Self(text)) } else { Err(InvalidDigest(text)) }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl Digest {
    /// Computes the digest of raw bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hex::encode(sha2::Sha256::digest(bytes)))
    }

    /// Computes the digest of a JSON value; the order of map keys makes no difference.
    pub fn of_json(value: &Value) -> Self {
        Self::of_bytes(canonical_json(value).as_bytes())
    }

    /// Returns all 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first `digits` hex digits (at most 64).
    pub fn short(&self, digits: usize) -> &str {
        &self.0[..digits.min(self.0.len())]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a JSON value with sorted map keys and no white space, so that equal values give equal text.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_makes_no_difference_and_values_do() {
        let digest = Digest::of_json(&json!({"a": 1, "b": {"c": [1, 2], "d": "x"}}));
        assert_eq!(digest, Digest::of_json(&json!({"b": {"d": "x", "c": [1, 2]}, "a": 1})));
        assert_ne!(digest, Digest::of_json(&json!({"a": 1, "b": {"c": [2, 1], "d": "x"}})));
        assert_ne!(Digest::of_json(&json!("1")), Digest::of_json(&json!(1)));
    }

    #[test]
    fn only_digests_are_read_as_such() {
        let digest = Digest::of_bytes(b"x");
        assert_eq!(serde_json::from_value::<Digest>(json!(digest)).ok(), Some(digest.clone()));
        let upper = digest.as_str().to_uppercase();
        for bad in ["", "abc", upper.as_str(), &"é".repeat(32)] {
            assert!(serde_json::from_value::<Digest>(json!(bad)).is_err(), "{bad}");
        }
    }
}
