/// What a scalar of a template computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Program {
    /// One `{{ a.b.c }}`: looked up without the template engine.
    Path(Vec<String>),
    /// One `{{ ... }}`: the expression's source.
    Expression(String),
    /// Text with lookups in between.
    Parts(Vec<Part>),
    /// Any other mix: the source of a whole template.
    Text(String),
}

/// A piece of [`Program::Parts`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Path(Vec<String>),
}

/// Reads a scalar; `None` when nothing in it is computed.
pub(crate) fn read(text: &str) -> Option<Program> {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return None;
    }
    let trimmed = text.trim();
    if let Some((expression, "")) = block(trimmed) {
        return Some(path(expression).map_or_else(|| Program::Expression(expression.to_owned()), Program::Path));
    }
    Some(parts(text).unwrap_or_else(|| Program::Text(text.to_owned())))
}

/// Splits `{{ expression }}rest` after the block; `None` when the text starts otherwise.
fn block(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("{{")?;
    let (mut quote, mut depth) = (None, 0_usize);
    let bytes = inner.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if *byte == open && bytes.get(at.wrapping_sub(1)) != Some(&b'\\') => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => {
                // Only a `-` at the bracket itself is white space control; after a space it is a sign.
                let expression = inner[..at].strip_prefix('-').unwrap_or(&inner[..at]);
                let expression = expression.strip_suffix('-').unwrap_or(expression).trim();
                return Some((expression, &inner[at + 2..]));
            }
            _ => {}
        }
    }
    None
}

/// Reads `a.b.c` of plain names; `None` for anything else, also for words of the language.
fn path(expression: &str) -> Option<Vec<String>> {
    let name = |step: &str| {
        step.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let steps: Vec<&str> = expression.split('.').collect();
    let is_word = matches!(expression, "true" | "false" | "none" | "True" | "False" | "None" | "not" | "loop");
    (!is_word && steps.iter().all(|step| name(step))).then(|| steps.into_iter().map(str::to_owned).collect())
}

fn parts(text: &str) -> Option<Program> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        match rest.as_bytes().get(at + 1) {
            Some(b'{') => {
                if at > 0 {
                    parts.push(Part::Text(rest[..at].to_owned()));
                }
                let (expression, after) = block(&rest[at..])?;
                // White space control changes the text around: left to the engine.
                if rest[at..].starts_with("{{-") || rest[..rest.len() - after.len()].ends_with("-}}") {
                    return None;
                }
                parts.push(Part::Path(path(expression)?));
                rest = after;
            }
            Some(b'%' | b'#') => return None,
            _ => {
                parts.push(Part::Text(rest[..=at].to_owned()));
                rest = &rest[at + 1..];
            }
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(Program::Parts(parts))
}

/// Lists the dotted names in a source, in order: `a.b` of `a.b | filter(c)` gives `a.b`, `filter`, `c`.
pub(crate) fn names(source: &str) -> Vec<Vec<String>> {
    let mut names = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for c in source.chars().chain([' ']) {
        match quote {
            Some(open) => quote = (c != open).then_some(open),
            None if c.is_ascii_alphanumeric() || c == '_' || (c == '.' && !word.is_empty()) => word.push(c),
            None => {
                quote = matches!(c, '\'' | '"').then_some(c);
                let dotted = std::mem::take(&mut word);
                let dotted = dotted.trim_end_matches('.');
                if dotted.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
                    names.push(dotted.split('.').map(str::to_owned).collect());
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn scalars_are_told_apart() {
        for (text, expected) in [
            ("plain {x}", None),
            ("{{ a.b }}", Some(Program::Path(steps("a.b")))),
            ("{{a}}", Some(Program::Path(steps("a")))),
            ("{{ a | length }}", Some(Program::Expression("a | length".into()))),
            ("{{ true }}", Some(Program::Expression("true".into()))),
            ("{{ {'a': '}}'} }}", Some(Program::Expression("{'a': '}}'}".into()))),
            ("{{ {'a': {}}}}", Some(Program::Expression("{'a': {}}".into()))),
            ("{{ {'a': {'b': 1}} }}", Some(Program::Expression("{'a': {'b': 1}}".into()))),
            ("{{- a.b -}}", Some(Program::Path(steps("a.b")))),
            ("{{ -a }}", Some(Program::Expression("-a".into()))),
            (
                "x-{{ a.b }}-{c}{{ d }}",
                Some(Program::Parts(vec![
                    Part::Text("x-".into()),
                    Part::Path(steps("a.b")),
                    Part::Text("-{".into()),
                    Part::Text("c}".into()),
                    Part::Path(steps("d")),
                ])),
            ),
            ("{{ a }}-{{ b + 1 }}", Some(Program::Text("{{ a }}-{{ b + 1 }}".into()))),
            ("{% if a %}x{% endif %}", Some(Program::Text("{% if a %}x{% endif %}".into()))),
            ("{{ a }} {{- b }}", Some(Program::Text("{{ a }} {{- b }}".into()))),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found_outside_of_texts() {
        let found: Vec<String> = names("a.b if 'c.d' ~ e else f(g.h)").iter().map(|name| name.join(".")).collect();
        assert_eq!(found, ["a.b", "if", "e", "else", "f", "g.h"]);
    }
}
