//! Writes YAML that every parser reads alike: same input, same bytes.

use provision_model::Manifest;
use serde_json::Value;

/// Writes objects as a multi-document YAML text; each document starts with `---`.
pub fn to_yaml(manifests: &[Manifest]) -> String {
    manifests.iter().map(|manifest| format!("---\n{}", value_to_yaml(manifest.value()))).collect()
}

/// Writes one value as a YAML document that ends with a line break.
///
/// Texts that YAML 1.1 or 1.2 would read as something else are quoted; texts of several lines become block scalars where that
/// keeps them exactly.
pub fn value_to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(map, 0, &mut out),
        Value::Array(items) if !items.is_empty() => write_list(items, 0, &mut out),
        leaf => write_leaf(leaf, 0, &mut out),
    }
    out
}

fn write_map(map: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (place, (key, value)) in map.iter().enumerate() {
        if place > 0 {
            push_indent(indent, out);
        }
        write_text(key, out);
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                push_indent(indent + 2, out);
                write_map(map, indent + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                push_indent(indent, out);
                write_list(items, indent, out);
            }
            leaf => {
                out.push(' ');
                write_leaf(leaf, indent, out);
            }
        }
    }
}

fn write_list(items: &[Value], indent: usize, out: &mut String) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            push_indent(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(map, indent + 2, out),
            Value::Array(items) if !items.is_empty() => write_list(items, indent + 2, out),
            leaf => write_leaf(leaf, indent, out),
        }
    }
}

fn write_leaf(leaf: &Value, indent: usize, out: &mut String) {
    match leaf {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) if is_block(text) => return write_block(text, indent + 2, out),
        Value::String(text) => write_text(text, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
    out.push('\n');
}

/// Tells whether a text is kept exactly by a block scalar: lines without odd characters, no leading space, at most one break at the end.
fn is_block(text: &str) -> bool {
    let odd = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.ends_with("\n\n")
        && !text.chars().any(odd)
        && !text.lines().any(|line| line.ends_with(' '))
}

fn write_block(text: &str, indent: usize, out: &mut String) {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            push_indent(indent, out);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn push_indent(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_text(text: &str, out: &mut String) {
    if is_plain(text) { out.push_str(text) } else { write_quoted(text, out) }
}

/// JSON's form, with everything escaped that YAML can't hold as it is.
fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Tells whether a text may stand without quotes: plain letters in front, nothing inside that means something, no word or number.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let first_fits =
        first.is_ascii_alphabetic() || matches!(first, '/' | '_' | '.' | '$' | '(') || (first.is_ascii_digit() && !number_like(text));
    let inside = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '.' | '/' | '-' | '+' | '=' | '$' | '(' | ')' | ' ' | ',' | ';' | '@' | '%' | '~' | ':' | '<' | '>')
    };
    first_fits && text.chars().all(inside) && !text.contains(": ") && !text.ends_with([':', ' ']) && !is_word(text) && !number_like(text)
}

/// Words that YAML 1.1 or 1.2 reads as booleans, null, infinity or a merge.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 14] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".inf", ".nan", "=", "<<"];
    WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Tells whether some YAML reads the text as a number, a date or a time of day: digits and what may stand between them, nothing else.
fn number_like(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    let radix = |prefix: &str| digits.strip_prefix(prefix).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit() || c == '_'));
    let body = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '-' | '+' | 'e' | 't' | 'z' | ' ' | ','));
    radix("0x") || radix("0o") || radix("0b") || (body && digits.contains(|c: char| c.is_ascii_digit())) || digits == "."
}

#[cfg(test)]
mod tests;
