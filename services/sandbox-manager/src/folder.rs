//! The folders of sandboxes, whatever these are made of.
//!
//! ```text
//! DATA/lock              held as long as this program runs
//! DATA/<id>/workspace/   files of a sandbox
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use crate::plan::{ROOT, WORKSPACE};

/// How often a folder is tried to be removed.
const TRIES: u32 = 5;

/// Why the folder of all sandboxes is not taken.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    /// It can't be made or opened.
    #[error("{} can't be used (SANDBOX_DATA_PATH)", .0.display())]
    Unusable(PathBuf, #[source] io::Error),
    /// Another program has it.
    #[error("{} is used by another sandbox-manager (SANDBOX_DATA_PATH)", .0.display())]
    Used(PathBuf),
}

/// Makes the folder of all sandboxes and takes it for this program alone.
///
/// # Errors
/// [`FolderError`] if it can't be used, or is used by another one.
pub(crate) fn take(data: &Path) -> Result<Flock<File>, FolderError> {
    let unusable = |error| FolderError::Unusable(data.to_owned(), error);
    fs::create_dir_all(data).map_err(unusable)?;
    // The users of sandboxes pass through, and list nothing.
    fs::set_permissions(data, Permissions::from_mode(0o711)).or_else(ignore_denied).map_err(unusable)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(data.join("lock")).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| FolderError::Used(data.to_owned()))
}

/// The folder may be another user's, as mounted volumes are.
fn ignore_denied(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

/// Makes the folder of a sandbox; its files belong to `owner`, if that is another user.
///
/// # Errors
/// What the file system says.
pub(crate) fn make(folder: &Path, owner: Option<u32>) -> io::Result<()> {
    DirBuilder::new().mode(0o711).create(folder)?;
    for (name, mode) in [(WORKSPACE, 0o700), ("tmp", 0o700), (ROOT, 0o755)] {
        let path = folder.join(name);
        DirBuilder::new().mode(mode).create(&path)?;
        if name != ROOT && owner.is_some() {
            lchown(&path, owner, owner)?;
        }
    }
    Ok(())
}

/// Removes the folder of a sandbox that has ended, if it is there.
///
/// # Errors
/// What the file system says.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && tries < TRIES => open_up(folder)?,
            // An archive that was broken off may still be written to its next entry.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {}
            removed => return removed,
        }
        tries += 1;
    }
}

/// Returns the folders of sandboxes that are there.
pub(crate) fn list(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Gives folders their owner's rights back, so that they can be removed.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Runs work on files where it holds nobody up.
///
/// # Errors
/// Those of the work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
