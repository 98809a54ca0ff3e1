//! Folders for the files of single requests; those of a service that was killed are found by their lock and removed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use thiserror::Error;
use uuid::Uuid;

use super::lock::{Mode, try_lock};
use super::repair::remove_folder;

/// The cache's folder can't be used.
#[derive(Debug, Error)]
#[error("{} can't be written (GIT_WORKSPACE_BASE_PATH)", path.display())]
pub(super) struct Unusable {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes the error of a folder that can't be used.
pub(super) fn unusable(path: &Path, source: io::Error) -> Unusable {
    Unusable { path: path.to_owned(), source }
}

/// This service's folder of folders.
pub(super) struct Scratch {
    own: PathBuf,
    lock: PathBuf,
    _held: Flock<File>,
}

/// A folder that is removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Returns the path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        drop(remove_folder(&self.0));
    }
}

impl Scratch {
    /// Makes a folder of this service's own below `folder`, and removes those of ended ones.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        sweep(folder);
        let own = folder.join(Uuid::new_v4().to_string());
        let lock = own.with_extension("lock");
        let held = try_lock(&lock, Mode::Exclusive)?.ok_or(io::ErrorKind::WouldBlock)?;
        make(&own)?;
        Ok(Self { own, lock, _held: held })
    }

    /// Makes a folder for a request.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn folder(&self) -> io::Result<Folder> {
        let path = self.own.join(Uuid::new_v4().to_string());
        make(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(remove_folder(&self.own));
        drop(fs::remove_file(&self.lock));
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for lock in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "lock")) {
        if let Ok(Some(_held)) = try_lock(&lock, Mode::Exclusive) {
            // Tried again at the next start.
            drop(remove_folder(&lock.with_extension("")));
            drop(fs::remove_file(&lock));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_ended_services_are_removed_and_those_of_running_ones_stay() {
        let base = tempfile::tempdir().unwrap();
        let running = Scratch::open(base.path()).unwrap();
        let folder = running.folder().unwrap();
        fs::write(folder.file("x"), "x").unwrap();
        let ended = base.path().join("ended");
        fs::create_dir_all(ended.join("y")).unwrap();
        fs::write(ended.with_extension("lock"), "").unwrap();
        let second = Scratch::open(base.path()).unwrap();
        assert!(!ended.exists() && !ended.with_extension("lock").exists());
        assert!(folder.file("x").exists());
        drop((second, folder, running));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
