use serde_json::{Number, Value};

use super::{Walk, quoted};
use crate::openapi::formats::{is_base64, is_quantity, is_time};
use crate::openapi::node::Shape;
use crate::openapi::path::Path;
use crate::suggest::{listed, nearest};

impl Walk<'_> {
    /// Checks a value that is neither map nor list.
    pub(super) fn scalar(&mut self, shape: &Shape, value: &Value, path: &Path<'_>) {
        match (shape, value) {
            (Shape::String | Shape::IntOrString, Value::String(_))
            | (Shape::Number | Shape::Quantity, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Enum(words), Value::String(text)) => self.word(words, text, path),
            (Shape::Bytes, Value::String(text)) => self.syntax(is_base64(text), text, "base64", path),
            (Shape::Time, Value::String(text)) => self.syntax(is_time(text), text, shape.expected(), path),
            (Shape::Quantity, Value::String(text)) => self.syntax(is_quantity(text), text, shape.expected(), path),
            (Shape::Int32, Value::Number(number)) => self.whole(number, i64::from(i32::MIN)..=i64::from(i32::MAX), path),
            (Shape::Int64 | Shape::IntOrString, Value::Number(number)) => self.whole(number, i64::MIN..=i64::MAX, path),
            _ => self.wrong_type(path, value, shape.expected()),
        }
    }

    fn word(&mut self, words: &[String], text: &str, path: &Path<'_>) {
        if words.iter().any(|word| word == text) {
            return;
        }
        let known = listed(words.iter().map(String::as_str));
        let help = nearest(text, words.iter().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
        self.report("invalid-value", path, format!("{} is {}; expected one of {known}", quoted(path), self.shown(text)), help);
    }

    fn syntax(&mut self, fits: bool, text: &str, expected: &str, path: &Path<'_>) {
        if !fits {
            let help =
                (expected == "base64").then(|| "write plain text under `stringData`, or encode it".to_owned()).filter(|_| self.secret);
            self.report("invalid-value", path, format!("{} is {}; expected {expected}", quoted(path), self.shown(text)), help);
        }
    }

    fn whole(&mut self, number: &Number, range: std::ops::RangeInclusive<i64>, path: &Path<'_>) {
        match number.as_i64() {
            Some(whole) if range.contains(&whole) => {}
            None if !number.is_u64() => {
                self.report("wrong-type", path, format!("{} is {number}; expected a whole number", quoted(path)), None);
            }
            _ => {
                let (least, most) = range.into_inner();
                let message = format!("{} is {number}; expected a whole number from {least} to {most}", quoted(path));
                self.report("invalid-value", path, message, None);
            }
        }
    }

    /// Writes a value for a message: never one of a Secret, and never a long one.
    pub(super) fn shown(&self, text: &str) -> String {
        match text.char_indices().nth(60) {
            _ if self.secret => "another text".to_owned(),
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        }
    }
}
