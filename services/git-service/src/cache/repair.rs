//! What killed commands leave in a repository, and its removal.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use crate::cache::blocking;
use crate::failure::Failure;

/// Attributes above those of a commit: an archive holds the files as they are.
const ATTRIBUTES: &str = "* -export-ignore -export-subst -text -ident -filter -working-tree-encoding\n";

/// Gives a new repository its attributes and its name.
///
/// # Errors
/// What the file system says.
pub(super) fn finish(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(unfinished.join("info"))?;
    fs::write(unfinished.join("info/attributes"), ATTRIBUTES)?;
    fs::rename(unfinished, path)
}

/// Removes lock files and unfinished objects of commands that were killed; only who holds the repository alone may do so.
///
/// # Errors
/// What the file system says.
pub(super) fn clear(repository: &Path) -> io::Result<()> {
    clear_folder(repository, 0)
}

/// Deep enough for refs of branches; objects lie two deep.
const DEEPEST: usize = 12;

fn clear_folder(folder: &Path, depth: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if is_remains(&name) {
            tracing::info!(path = %entry.path().display(), "removed what a killed git left");
            if kind.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        } else if kind.is_dir() && depth < DEEPEST {
            clear_folder(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}

fn is_remains(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.ends_with(".lock")
        || name.ends_with(".keep")
        || name.starts_with("tmp_")
        || name.starts_with(".tmp-")
        || name.starts_with("incoming-")
}

/// Removes a repository: first its name, so that what is left after a crash is not taken for one.
pub(super) async fn remove(path: &Path) -> Result<(), Failure> {
    let path = path.to_owned();
    blocking(move || remove_now(&path)).await
}

/// Removes a repository that nobody uses.
///
/// # Errors
/// What the file system says.
pub(super) fn remove_now(path: &Path) -> io::Result<()> {
    let gone = path.with_extension("gone");
    remove_folder(&gone)?;
    match fs::rename(path, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| remove_folder(&gone)),
    }
}

/// Removes a folder if it is there.
///
/// # Errors
/// What the file system says.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
