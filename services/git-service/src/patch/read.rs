//! Text to patch.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Split;

use super::{Action, FileChange, FileMode, Hunk, LARGEST, MOST_FILES, Patch, PatchError, Problem, is_safe_path};

/// Reads a unified diff, with git's headers or without.
///
/// # Errors
/// [`PatchError`] with the first line that is not taken.
pub(crate) fn parse(text: &str) -> Result<Patch, PatchError> {
    let mut lines = Lines { rest: text.split('\n').peekable(), number: 0 };
    if text.len() > LARGEST {
        return Err(lines.error(Problem::Size));
    }
    let (mut files, mut seen): (Vec<FileChange>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    while let Some(line) = lines.peek() {
        if line.is_empty() {
            lines.next();
            continue;
        }
        let file = parse_file(&mut lines)?;
        // A second change of a file is made to what the first one left; the two could undo each other's checks.
        let copied = matches!(file.action, Action::Copy { .. });
        if !seen.insert(file.new.clone()) || file.old != file.new && !copied && !seen.insert(file.old.clone()) {
            return Err(lines.error(Problem::Twice));
        }
        files.push(file);
        if files.len() > MOST_FILES {
            return Err(lines.error(Problem::Files));
        }
    }
    if files.is_empty() { Err(lines.error(Problem::Empty)) } else { Ok(Patch { files }) }
}

struct Lines<'a> {
    rest: Peekable<Split<'a, char>>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn peek(&mut self) -> Option<&'a str> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.rest.next()
    }

    /// Takes the next line if it begins so, and returns its rest.
    fn take(&mut self, start: &str) -> Option<&'a str> {
        let rest = self.peek()?.strip_prefix(start)?;
        self.next();
        Some(rest)
    }

    fn error(&self, problem: Problem) -> PatchError {
        PatchError { line: self.number.max(1), problem }
    }
}

/// What the headers of one file say.
#[derive(Default)]
struct Heads<'a> {
    git: Option<&'a str>,
    old_mode: Option<FileMode>,
    new_mode: Option<FileMode>,
    created: Option<FileMode>,
    deleted: Option<FileMode>,
    rename: (Option<&'a str>, Option<&'a str>),
    copy: (Option<&'a str>, Option<&'a str>),
    /// Paths of `---` and `+++`; none is `/dev/null`.
    files: Option<(Option<&'a str>, Option<&'a str>)>,
}

fn parse_file(lines: &mut Lines<'_>) -> Result<FileChange, PatchError> {
    let mut heads = Heads { git: lines.take("diff --git "), ..Heads::default() };
    if heads.git.is_some() {
        parse_extended(lines, &mut heads)?;
    }
    if let Some(old) = lines.take("--- ") {
        let old = parse_name(old, "a/").map_err(|problem| lines.error(problem))?;
        let new = lines.take("+++ ").ok_or(Problem::Line);
        let new = new.and_then(|new| parse_name(new, "b/"));
        heads.files = Some((old, new.map_err(|problem| lines.error(problem))?));
    } else if heads.git.is_none() {
        lines.next();
        return Err(lines.error(Problem::Line));
    }
    let (old, new, action) = judge(&heads).map_err(|problem| lines.error(problem))?;
    let mut hunks = Vec::new();
    while let Some(head) = lines.take("@@ ") {
        hunks.push(parse_hunk(head, lines)?);
    }
    if hunks.is_empty() == heads.files.is_some() {
        return Err(lines.error(Problem::Hunk));
    }
    let sides: (u64, u64) = hunks.iter().fold((0, 0), |sum, hunk| (sum.0 + u64::from(hunk.old.1), sum.1 + u64::from(hunk.new.1)));
    match action {
        Action::Create(_) if sides.0 > 0 => Err(lines.error(Problem::Contradiction)),
        Action::Delete(_) if sides.1 > 0 => Err(lines.error(Problem::Contradiction)),
        Action::Change { modes: None } if hunks.is_empty() => Err(lines.error(Problem::Hunk)),
        _ => Ok(FileChange { old, new, action, hunks }),
    }
}

/// Reads the lines between `diff --git` and `---`.
fn parse_extended<'a>(lines: &mut Lines<'a>, heads: &mut Heads<'a>) -> Result<(), PatchError> {
    loop {
        let mode_of = |lines: &Lines<'_>, text: &str| parse_mode(text).map_err(|problem| lines.error(problem));
        if let Some(mode) = lines.take("old mode ") {
            heads.old_mode = Some(mode_of(lines, mode)?);
        } else if let Some(mode) = lines.take("new mode ") {
            heads.new_mode = Some(mode_of(lines, mode)?);
        } else if let Some(mode) = lines.take("new file mode ") {
            heads.created = Some(mode_of(lines, mode)?);
        } else if let Some(mode) = lines.take("deleted file mode ") {
            heads.deleted = Some(mode_of(lines, mode)?);
        } else if let Some(path) = lines.take("rename from ") {
            heads.rename.0 = Some(path);
        } else if let Some(path) = lines.take("rename to ") {
            heads.rename.1 = Some(path);
        } else if let Some(path) = lines.take("copy from ") {
            heads.copy.0 = Some(path);
        } else if let Some(path) = lines.take("copy to ") {
            heads.copy.1 = Some(path);
        } else if let Some(ids) = lines.take("index ") {
            // The ids say nothing that the hunks don't; a mode at the end does.
            if let Some((_, mode)) = ids.split_once(' ') {
                mode_of(lines, mode)?;
            }
        } else if lines.take("similarity index ").is_none() && lines.take("dissimilarity index ").is_none() {
            let binary = lines.peek().is_some_and(|line| line.starts_with("GIT binary patch") || line.starts_with("Binary files "));
            return if binary { Err(lines.error(Problem::Binary)) } else { Ok(()) };
        }
    }
}

fn parse_mode(text: &str) -> Result<FileMode, Problem> {
    match text {
        "100644" => Ok(FileMode::Plain),
        "100755" => Ok(FileMode::Executable),
        _ => Err(Problem::Mode),
    }
}

/// Reads the name of `---` or `+++`; none is `/dev/null`. What follows a tab is a time.
fn parse_name<'a>(text: &'a str, prefix: &str) -> Result<Option<&'a str>, Problem> {
    let name = text.split('\t').next().unwrap_or_default();
    if name == "/dev/null" {
        return Ok(None);
    }
    let path = name.strip_prefix(prefix).ok_or(Problem::Prefix)?;
    if is_safe_path(path) { Ok(Some(path)) } else { Err(Problem::Path) }
}

/// Decides from the headers which file is changed and how; they must agree.
fn judge(heads: &Heads<'_>) -> Result<(String, String, Action), Problem> {
    let moved = match (heads.rename, heads.copy) {
        ((Some(old), Some(new)), (None, None)) => Some((old, new, true)),
        ((None, None), (Some(old), Some(new))) => Some((old, new, false)),
        ((None, None), (None, None)) => None,
        _ => return Err(Problem::Contradiction),
    };
    let (mut old, mut new) = match (moved, heads.files) {
        (Some((old, new, _)), _) => (Some(old), Some(new)),
        (None, Some(files)) => files,
        (None, None) => same_name(heads.git.unwrap_or_default()).map(|name| (Some(name), Some(name)))?,
    };
    if heads.files.is_some_and(|files| files != (old, new)) {
        return Err(Problem::Contradiction);
    }
    // Without `---` and `+++`: an empty file comes or goes.
    if heads.files.is_none() && heads.created.is_some() {
        old = None;
    } else if heads.files.is_none() && heads.deleted.is_some() {
        new = None;
    }
    let modes = match (heads.old_mode, heads.new_mode) {
        (Some(old), Some(new)) => Some((old, new)),
        (None, None) => None,
        _ => return Err(Problem::Contradiction),
    };
    let action = match (old, new, heads.created, heads.deleted, moved) {
        (None, Some(_), created, None, None) if modes.is_none() => Action::Create(created.unwrap_or(FileMode::Plain)),
        (Some(_), None, None, deleted, None) if modes.is_none() => Action::Delete(deleted.unwrap_or(FileMode::Plain)),
        (Some(old), Some(new), None, None, Some((_, _, renames))) if old != new => {
            if renames {
                Action::Rename { modes }
            } else {
                Action::Copy { modes }
            }
        }
        (Some(old), Some(new), None, None, None) if old == new => Action::Change { modes },
        _ => return Err(Problem::Contradiction),
    };
    let old = old.or(new).ok_or(Problem::Contradiction)?;
    let new = new.unwrap_or(old);
    if !is_safe_path(old) || !is_safe_path(new) {
        return Err(Problem::Path);
    }
    match heads.git {
        Some(git) if git != format!("a/{old} b/{new}") => Err(Problem::Contradiction),
        _ => Ok((old.to_owned(), new.to_owned(), action)),
    }
}

/// Reads `a/NAME b/NAME`, where both names are the same and may hold blanks.
fn same_name(text: &str) -> Result<&str, Problem> {
    let length = text.len().checked_sub("a/ b/".len()).filter(|length| length % 2 == 0).ok_or(Problem::Prefix)? / 2;
    let name = text.strip_prefix("a/").and_then(|rest| rest.get(..length)).ok_or(Problem::Prefix)?;
    if text == format!("a/{name} b/{name}") { Ok(name) } else { Err(Problem::Prefix) }
}

fn parse_hunk(head: &str, lines: &mut Lines<'_>) -> Result<Hunk, PatchError> {
    let (old, new) = parse_ranges(head).ok_or_else(|| lines.error(Problem::Hunk))?;
    let (mut hunk, mut missing) = (Hunk { old, new, lines: Vec::new() }, (old.1, new.1));
    while missing != (0, 0) {
        let line = lines.next().ok_or_else(|| lines.error(Problem::Hunk))?;
        let taken = match line.chars().next() {
            // A blank line whose blank was lost on its way.
            None => (1, 1),
            Some(' ') => (1, 1),
            Some('-') => (1, 0),
            Some('+') => (0, 1),
            Some('\\') if !hunk.lines.is_empty() => (0, 0),
            Some(_) => return Err(lines.error(Problem::Hunk)),
        };
        let left = (missing.0.checked_sub(taken.0), missing.1.checked_sub(taken.1));
        let (Some(old), Some(new)) = left else { return Err(lines.error(Problem::Hunk)) };
        missing = (old, new);
        hunk.push(line);
    }
    // Git takes no hunk that leaves all as it is.
    if !hunk.lines.iter().any(|line| line.starts_with(['+', '-'])) {
        return Err(lines.error(Problem::Hunk));
    }
    if lines.peek().is_some_and(|line| line.starts_with('\\')) {
        lines.next();
        hunk.push("\\");
    }
    Ok(hunk)
}

impl Hunk {
    fn push(&mut self, line: &str) {
        let kept = match line.chars().next() {
            None => " ",
            Some('\\') => "\\ No newline at end of file",
            Some(_) => line,
        };
        self.lines.push(kept.to_owned());
    }
}

/// Reads `-1,2 +3,4 @@ anything`.
fn parse_ranges(head: &str) -> Option<((u32, u32), (u32, u32))> {
    let (ranges, _) = head.split_once(" @@")?;
    let (old, new) = ranges.split_once(' ')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let range = |text: &str| match text.split_once(',') {
        Some((start, count)) => Some((number(start)?, number(count)?)),
        None => Some((number(text)?, 1)),
    };
    let (old, new) = (range(old.strip_prefix('-')?)?, range(new.strip_prefix('+')?)?);
    (old.1 > 0 || new.1 > 0).then_some((old, new))
}
