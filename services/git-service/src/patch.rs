//! Patches from outside: read by a strict parser of our own, checked, and written anew, so that git never sees another form than ours.
//!
//! Two readers of one text can differ, and a patch is hostile. What git gets is made of what was checked: paths, modes, lines; whatever
//! the parser does not know is refused, not skipped. Binary changes, symbolic links and submodules are refused.

mod path;
mod read;
mod write;

pub(crate) use self::path::is_safe_path;
pub(crate) use self::read::parse;
use thiserror::Error;

/// Largest patch, in bytes.
pub(crate) const LARGEST: usize = 8 << 20;
/// Most files of a patch.
const MOST_FILES: usize = 1000;

/// Why a patch is not taken; `line` counts from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the patch is not taken: line {line}: {problem}")]
pub(crate) struct PatchError {
    line: usize,
    problem: Problem,
}

/// What is wrong with a patch.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Nothing in it.
    #[error("it changes no file")]
    Empty,
    /// Too large.
    #[error("it is larger than {LARGEST} bytes")]
    Size,
    /// Too many files.
    #[error("it changes more than {MOST_FILES} files")]
    Files,
    /// A line that has no meaning there.
    #[error("a unified diff has no such line there")]
    Line,
    /// A path that leaves the tree or reaches into git's own files.
    #[error("its path is not one that may be changed")]
    Path,
    /// A path without `a/` or `b/`, or in quotes.
    #[error("its path must be below a/ or b/ and not in quotes")]
    Prefix,
    /// Headers that contradict each other.
    #[error("its paths or modes contradict each other")]
    Contradiction,
    /// A link, a submodule, or what no system has.
    #[error("only regular files may be changed")]
    Mode,
    /// A binary change.
    #[error("binary changes are not taken")]
    Binary,
    /// A hunk that ends early or whose counts are wrong.
    #[error("the hunk's lines are not those that its head counts")]
    Hunk,
    /// A file twice.
    #[error("the file is changed twice")]
    Twice,
}

/// A patch that may be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    files: Vec<FileChange>,
}

/// Whether a file is executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileMode {
    Plain,
    Executable,
}

/// What happens to a file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Change { modes: Option<(FileMode, FileMode)> },
    Create(FileMode),
    Delete(FileMode),
    Rename { modes: Option<(FileMode, FileMode)> },
    Copy { modes: Option<(FileMode, FileMode)> },
}

/// The change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileChange {
    /// Path before; that of a new file is as after.
    old: String,
    /// Path after; that of a deleted file is as before.
    new: String,
    action: Action,
    hunks: Vec<Hunk>,
}

/// Lines that stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunk {
    old: (u32, u32),
    new: (u32, u32),
    /// Lines with their first character: blank, `+`, `-`, or `\` for a missing line break.
    lines: Vec<String>,
}

impl Patch {
    /// Returns the paths that it touches, sorted.
    pub(crate) fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.files.iter().flat_map(|file| [file.old.as_str(), file.new.as_str()]).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

#[cfg(test)]
mod tests;
