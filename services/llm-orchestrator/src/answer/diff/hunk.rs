//! Hunks: a header with counts, and lines.

use super::{Mistake, shown};

/// Where a hunk is, as its header says.
struct Header<'a> {
    old: (u32, u32),
    new: (u32, u32),
    rest: &'a str,
}

/// Reads the hunk whose header is line `at`; returns it with its lines counted anew, and the line after it.
///
/// # Errors
/// [`Mistake`] if the header is none, a line has no mark, or nothing changes.
pub(super) fn read(lines: &[&str], at: usize) -> Result<(String, usize), Mistake> {
    let header = lines[at];
    let header = parse(header).ok_or_else(|| {
        Mistake::new(format!("line {} of the diff, {:?}, is no header of a hunk like `@@ -1,2 +1,3 @@`", at + 1, shown(header)))
    })?;
    // What the header says comes first: a line `--- x` may be a line that goes, `-- x`.
    let end = match by_counts(lines, at + 1, &header) {
        Some(end) => end,
        None => by_marks(lines, at + 1)?,
    };
    let body = &lines[at + 1..end];
    let count = |marks: &[u8]| body.iter().filter(|line| marks.contains(&mark(line))).count();
    let (old, new) = (count(b" -"), count(b" +"));
    if count(b"-+") == 0 {
        return Err(Mistake::new(format!("the hunk at line {} of the diff changes nothing", at + 1)));
    }
    let mut text = format!("@@ -{},{old} +{},{new} @@{}\n", header.old.0, header.new.0, header.rest);
    for line in body {
        // Editors, and models, leave the one space of an empty line out.
        text.push_str(if line.is_empty() { " " } else { line });
        text.push('\n');
    }
    Ok((text, end))
}

fn parse(line: &str) -> Option<Header<'_>> {
    let (places, rest) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = places.split_once(" +")?;
    let place = |text: &str| {
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    Some(Header { old: place(old)?, new: place(new)?, rest: rest.trim_end() })
}

/// Returns the first byte of a line: what it means; an empty one stays.
fn mark(line: &str) -> u8 {
    line.bytes().next().unwrap_or(b' ')
}

/// Returns the line after the hunk if its counts are right: they end at a line that begins something else.
fn by_counts(lines: &[&str], from: usize, header: &Header<'_>) -> Option<usize> {
    let (mut old, mut new) = (header.old.1, header.new.1);
    let mut at = from;
    while old > 0 || new > 0 {
        match mark(lines.get(at)?) {
            b' ' => (old, new) = (old.checked_sub(1)?, new.checked_sub(1)?),
            b'-' => old = old.checked_sub(1)?,
            b'+' => new = new.checked_sub(1)?,
            b'\\' => {}
            _ => return None,
        }
        at += 1;
    }
    if lines.get(at).is_some_and(|line| line.starts_with('\\')) {
        at += 1;
    }
    let next = (at..lines.len()).find(|index| !lines[*index].is_empty());
    next.is_none_or(|next| begins_something(lines, next)).then_some(at)
}

/// Returns the line after the hunk by the marks of its lines alone.
fn by_marks(lines: &[&str], from: usize) -> Result<usize, Mistake> {
    let mut end = from;
    while let Some(line) = lines.get(end).filter(|_| !begins_something(lines, end)) {
        if !b" +-\\".contains(&mark(line)) {
            return Err(Mistake::new(format!(
                "line {} of the diff, {:?}, begins with none of space, `+`, `-`, `\\` and is no header",
                end + 1,
                shown(line)
            )));
        }
        end += 1;
    }
    while end > from && lines[end - 1].is_empty() {
        end -= 1;
    }
    Ok(end)
}

/// Tells whether a line begins the next hunk or the next file.
fn begins_something(lines: &[&str], at: usize) -> bool {
    let starts = |offset: usize, text: &str| lines.get(at + offset).is_some_and(|line| line.starts_with(text));
    starts(0, "@@ -") || starts(0, "diff --git ") || (starts(0, "--- ") && starts(1, "+++ ") && starts(2, "@@ -"))
}
