//! Unified diffs as models write them, in git's own form.
//!
//! What the diff says is taken at its word; what models are bad at, counting lines and git's extra headers, is made anew. The paths are
//! checked for the model's sake only: whoever applies the patch checks them again.

mod hunk;

use super::Mistake;

/// Git's extra headers that say something.
const HEADERS: [&str; 6] = ["new file mode ", "new mode ", "deleted file mode ", "old mode ", "rename from ", "rename to "];

/// One file's part of a diff.
#[derive(Default)]
struct Section {
    /// Name in `diff --git`, if it is the same on both sides.
    named: Option<String>,
    renamed_from: Option<String>,
    renamed_to: Option<String>,
    new_file_mode: Option<String>,
    deleted_file_mode: Option<String>,
    old_mode: Option<String>,
    new_mode: Option<String>,
    /// Name on either side; none if there is no file on that side.
    sides: (Option<String>, Option<String>),
    hunks: String,
}

/// Returns `text`, a unified diff, in git's form: `diff --git`, modes, renames, counts that are right.
///
/// # Errors
/// [`Mistake`] if it is no diff, changes nothing, or changes something else than plain files below the root.
pub(super) fn normal(text: &str) -> Result<String, Mistake> {
    let lines: Vec<&str> = text.lines().collect();
    let mut reader = Reader { lines: &lines, at: 0 };
    let mut written = String::new();
    while reader.skip_empty() {
        written.push_str(&reader.section()?.written()?);
    }
    if written.is_empty() { Err(Mistake::new("the diff is empty")) } else { Ok(written) }
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    /// Goes to the next line with something in it; tells whether there is one.
    fn skip_empty(&mut self) -> bool {
        while self.line().is_some_and(|line| line.trim().is_empty()) {
            self.at += 1;
        }
        self.line().is_some()
    }

    fn mistake(&self, words: &str) -> Mistake {
        Mistake::new(format!("line {} of the diff, {:?}, {words}", self.at + 1, shown(self.line().unwrap_or_default())))
    }

    fn section(&mut self) -> Result<Section, Mistake> {
        let mut section = Section::default();
        let first = self.at;
        while let Some(line) = self.line() {
            if (self.at > first && line.starts_with("diff --git ")) || !self.header(line, &mut section)? {
                break;
            }
            self.at += 1;
        }
        if self.line().is_some_and(|line| line.starts_with("--- ")) {
            section.sides = (self.name("--- ", "a/")?, self.name("+++ ", "b/")?);
            while self.skip_empty() && self.line().is_some_and(|line| line.starts_with("@@")) {
                let (hunk, end) = hunk::read(self.lines, self.at)?;
                section.hunks.push_str(&hunk);
                self.at = end;
            }
            if section.hunks.is_empty() {
                return Err(self.mistake("stands where a hunk, `@@ -1,2 +1,2 @@`, is expected"));
            }
        } else if self.at == first {
            return Err(self.mistake("stands where the header of a file, `--- a/...`, is expected"));
        } else {
            section.sides = section.sides_of_headers();
        }
        section.check_names(self.at)?;
        Ok(section)
    }

    /// Takes one line of git's extra headers; tells whether it was one.
    fn header(&self, line: &str, section: &mut Section) -> Result<bool, Mistake> {
        if let Some(names) = line.strip_prefix("diff --git ") {
            section.named = same_name(names.trim_end());
            return Ok(true);
        }
        if line.starts_with("index ") || line.starts_with("similarity index ") {
            return Ok(true);
        }
        if let Some((words, value)) = HEADERS.iter().find_map(|words| Some((*words, line.strip_prefix(words)?.trim_end()))) {
            let usable = if words.starts_with("rename") { is_plain(value) } else { matches!(value, "100644" | "100755") };
            if !usable {
                return Err(self.mistake("names no plain file"));
            }
            let field = match words {
                "rename from " => &mut section.renamed_from,
                "rename to " => &mut section.renamed_to,
                "new file mode " => &mut section.new_file_mode,
                "deleted file mode " => &mut section.deleted_file_mode,
                "old mode " => &mut section.old_mode,
                _ => &mut section.new_mode,
            };
            *field = Some(value.to_owned());
            return Ok(true);
        }
        if line.starts_with("copy ") || line.starts_with("GIT binary patch") || line.starts_with("Binary files ") {
            return Err(self.mistake("is not allowed: only text, no copies"));
        }
        Ok(false)
    }

    /// Reads the name of one side; none if there is no file on that side.
    fn name(&mut self, prefix: &str, side: &str) -> Result<Option<String>, Mistake> {
        let line = self.line().and_then(|line| line.strip_prefix(prefix));
        let Some(name) = line.map(|name| name.split('\t').next().unwrap_or_default().trim_end()) else {
            return Err(self.mistake(&format!("stands where `{prefix}{side}...` is expected")));
        };
        let name = match name.strip_prefix(side) {
            _ if name == "/dev/null" => None,
            Some(path) if is_plain(path) => Some(path.to_owned()),
            _ => return Err(self.mistake(&format!("is no plain path below {side}"))),
        };
        self.at += 1;
        Ok(name)
    }
}

impl Section {
    /// Returns the names of a part without `---` and `+++`: nothing but a mode, a name or an empty file changes.
    fn sides_of_headers(&self) -> (Option<String>, Option<String>) {
        if self.renamed_from.is_some() || self.renamed_to.is_some() {
            return (self.renamed_from.clone(), self.renamed_to.clone());
        }
        let side = |absent: &Option<String>| self.named.clone().filter(|_| absent.is_none());
        (side(&self.new_file_mode), side(&self.deleted_file_mode))
    }

    /// Checks that all headers mean the same file; two names need a rename.
    fn check_names(&self, line: usize) -> Result<(), Mistake> {
        let renamed = self.renamed_from.is_some() || self.renamed_to.is_some();
        let good = match &self.sides {
            (Some(_), Some(_)) if renamed => self.sides == (self.renamed_from.clone(), self.renamed_to.clone()),
            (Some(old), Some(new)) => old == new,
            (None, None) => false,
            _ => !renamed,
        };
        if good { Ok(()) } else { Err(Mistake::new(format!("the headers before line {} of the diff don't name one file", line + 1))) }
    }

    fn written(&self) -> Result<String, Mistake> {
        let (old, new) = match &self.sides {
            (Some(old), Some(new)) => (old, new),
            (Some(only), None) | (None, Some(only)) => (only, only),
            (None, None) => return Ok(String::new()),
        };
        let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "100644".to_owned());
        let changed = match (&self.sides, &self.old_mode, &self.new_mode) {
            ((None, _), ..) => format!("new file mode {}\n", mode(&self.new_file_mode)),
            ((_, None), ..) => format!("deleted file mode {}\n", mode(&self.deleted_file_mode)),
            (_, Some(from), Some(to)) if from != to => format!("old mode {from}\nnew mode {to}\n"),
            _ => String::new(),
        };
        let renamed = if old == new { String::new() } else { format!("rename from {old}\nrename to {new}\n") };
        if changed.is_empty() && renamed.is_empty() && self.hunks.is_empty() {
            return Err(Mistake::new(format!("the diff changes nothing in {old}")));
        }
        let side =
            |side: &str, path: &Option<String>| path.as_ref().map_or_else(|| "/dev/null".to_owned(), |path| format!("{side}/{path}"));
        let names = format!("--- {}\n+++ {}\n", side("a", &self.sides.0), side("b", &self.sides.1));
        let body = if self.hunks.is_empty() { String::new() } else { format!("{names}{}", self.hunks) };
        Ok(format!("diff --git a/{old} b/{new}\n{changed}{renamed}{body}"))
    }
}

/// Returns the name in `a/name b/name`, where it is the same on both sides: only then is it clear where one ends.
fn same_name(names: &str) -> Option<String> {
    let (old, new) = names.split_at_checked(names.len() / 2)?;
    let (old, new) = (old.strip_prefix("a/")?, new.strip_prefix(" b/")?);
    (old == new && is_plain(old)).then(|| old.to_owned())
}

/// Tells whether a path is one that a diff may name: below the root, outside of git's own folder, and written without quotes.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
    path.split('/').all(plain) && !path.chars().any(|character| character.is_control() || matches!(character, '"' | '\\'))
}

/// Shortens a line for a message.
fn shown(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
