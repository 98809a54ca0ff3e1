/// Adds a key to a path as people write it: `services.api.env["a.b"]`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if key.is_empty() || key.contains(['.', '/', '[', ' ', '"']) {
        format!("{path}[\"{key}\"]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// One step of a written path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key of a map.
    Key(String),
    /// An item of a list by its place, from 0.
    Index(usize),
    /// An item of a list by the value of one of its keys.
    Item { key: String, value: String },
}

/// Reads `a.b["c.d"][0].e[name=x]`; each step comes with its column, from 1.
///
/// # Errors
/// The column and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<Vec<(Step, u32)>, (u32, &'static str)> {
    let chars: Vec<char> = text.chars().collect();
    let column = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
    let mut steps = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars[at] == '[' {
            let quoted = chars.get(at + 1) == Some(&'"');
            let close = if quoted { position(&chars, at + 2, '"') } else { position(&chars, at + 1, ']') };
            let close = close.ok_or((column(at), "the bracket is not closed"))?;
            let end = if quoted { close + 1 } else { close };
            if chars.get(end) != Some(&']') {
                return Err((column(end), "expected `]`"));
            }
            let inner: String = chars[at + 1 + usize::from(quoted)..close].iter().collect();
            let step =
                if quoted { Step::Key(inner) } else { bracket(&inner).ok_or((column(at + 1), "expected a number or `key=value`"))? };
            steps.push((step, column(at)));
            at = end + 1;
            if chars.get(at) == Some(&'.') {
                at += 1;
            }
            continue;
        }
        let end = (at..chars.len()).find(|&place| matches!(chars[place], '.' | '[')).unwrap_or(chars.len());
        if end == at {
            return Err((column(at), "a name is missing"));
        }
        steps.push((Step::Key(chars[at..end].iter().collect()), column(at)));
        at = end;
        if chars.get(at) == Some(&'.') {
            at += 1;
            if at == chars.len() {
                return Err((column(at), "a name is missing"));
            }
        }
    }
    if steps.is_empty() { Err((1, "the path is empty")) } else { Ok(steps) }
}

fn position(chars: &[char], from: usize, wanted: char) -> Option<usize> {
    (from..chars.len()).find(|&place| chars[place] == wanted)
}

fn bracket(text: &str) -> Option<Step> {
    if let Ok(index) = text.parse() {
        return Some(Step::Index(index));
    }
    let (key, value) = text.split_once('=')?;
    (!key.is_empty()).then(|| Step::Item { key: key.to_owned(), value: value.trim_matches('"').to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        let key = |name: &str| Step::Key(name.to_owned());
        let steps = parse(r#"a.b-c["d.e"][0].f[name=x].g"#).unwrap();
        let item = Step::Item { key: "name".into(), value: "x".into() };
        let expected = [(key("a"), 1), (key("b-c"), 3), (key("d.e"), 6), (Step::Index(0), 13), (key("f"), 17), (item, 18), (key("g"), 27)];
        assert_eq!(steps, expected);
        for (text, column) in [("", 1), ("a..b", 3), ("a.", 3), ("a[", 2), ("a[\"b]", 2), ("a[x]", 3), (".a", 1)] {
            assert_eq!(parse(text).unwrap_err().0, column, "{text}");
        }
        assert_eq!(join(&join("a", "b.c"), "d"), "a[\"b.c\"].d");
    }
}
