//! The folders of sandboxes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::OpenError;
use super::record::Record;
use crate::groups;
use crate::plan::{ROOT, WORKSPACE};

/// How often a folder is tried to be removed.
const TRIES: u32 = 5;

/// Makes the folder of all sandboxes and takes it for this program alone.
///
/// # Errors
/// [`OpenError`] if it can't be used, or is used by another one.
pub(super) fn take(data: &Path) -> Result<Flock<File>, OpenError> {
    let unusable = |error| OpenError::Folder(data.to_owned(), error);
    fs::create_dir_all(data).map_err(unusable)?;
    // The users of sandboxes pass through, and list nothing.
    fs::set_permissions(data, Permissions::from_mode(0o711)).or_else(ignore_denied).map_err(unusable)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(data.join("lock")).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| OpenError::Used(data.to_owned()))
}

/// The folder may be another user's, as mounted volumes are.
fn ignore_denied(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

/// Makes the folder of a sandbox; its files belong to `owner`, if that is another user.
///
/// # Errors
/// What the file system says.
pub(super) fn make(folder: &Path, owner: Option<u32>) -> io::Result<()> {
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

/// Ends what runs for a sandbox and removes its groups and its folder.
///
/// # Errors
/// What stays, or what the file system says.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    if let Ok(record) = Record::read(folder) {
        record.end();
        if !groups::remove(&record.groups) {
            return Err(io::Error::other("its control groups are not empty"));
        }
    }
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
