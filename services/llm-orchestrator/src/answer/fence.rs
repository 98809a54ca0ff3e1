//! Fenced blocks in Markdown.

use super::Mistake;

/// Returns the content of the only fenced block that is marked with one of `marks`; none if there is no such block.
///
/// Fences begin at the first column, so that no line of a diff ends one.
///
/// # Errors
/// [`Mistake`] if there is more than one, or one that is not closed.
pub(super) fn only_block(text: &str, marks: &[&str]) -> Result<Option<String>, Mistake> {
    let mut found = None;
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        let Some((length, mark)) = opening(line) else { continue };
        let mut content = String::new();
        loop {
            let line = lines.next().ok_or_else(|| Mistake::new(format!("the fence ```{mark} is not closed")))?;
            if closes(line, length) {
                break;
            }
            content.push_str(line);
            content.push('\n');
        }
        if marks.contains(&mark) && found.replace(content).is_some() {
            return Err(Mistake::new(format!("there is more than one fence ```{mark}")));
        }
    }
    Ok(found)
}

fn opening(line: &str) -> Option<(usize, &str)> {
    let mark = line.trim_start_matches('`');
    let length = line.len() - mark.len();
    // A line like ```x``` is inline code.
    (length >= 3 && !mark.contains('`')).then_some((length, mark.trim()))
}

fn closes(line: &str, length: usize) -> bool {
    let line = line.trim_end();
    line.len() >= length && line.bytes().all(|byte| byte == b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_marked_block_is_found() {
        for (text, expected) in [
            ("no fence", None),
            ("```diff\na\n\nb\n```", Some("a\n\nb\n")),
            ("x\n```text\nignored\n```\n``` diff \r\na\n```  \ny", Some("a\n")),
            ("```diff\n ```\n+```rust\n```", Some(" ```\n+```rust\n")),
            ("````diff\n```\n````", Some("```\n")),
            ("```diff```", None),
            ("  ```diff\n", None),
        ] {
            assert_eq!(only_block(text, &["diff"]).unwrap().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn two_blocks_and_an_open_one_are_mistakes() {
        for text in ["```diff\n```\n```diff\n```", "```diff\na", "```text\n"] {
            assert!(only_block(text, &["diff"]).is_err(), "{text:?}");
        }
    }
}
