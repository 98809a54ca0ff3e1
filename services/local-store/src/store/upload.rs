//! A body on its way to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::record::{self, Object};
use super::{StoreError, disk};

/// A file that takes a body; it is removed unless it becomes an object.
pub(crate) struct Upload {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    kept: bool,
}

impl Upload {
    pub(super) fn begin(path: PathBuf, limit: u64) -> Result<Self, StoreError> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(disk("make", &path))?;
        Ok(Self { path, file, size: 0, limit, kept: false })
    }

    /// Adds to the body.
    ///
    /// # Errors
    /// If the body is longer than an object may be, or the disk refuses it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(StoreError::TooLarge(self.limit));
        }
        self.file.write_all(bytes).map_err(disk("write", &self.path))
    }

    /// Returns the length of what was written, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Writes the record after the body and waits until the disk has both.
    pub(super) fn finish(mut self, object: &Object) -> Result<Self, StoreError> {
        let written = record::ending(object).and_then(|ending| self.file.write_all(&ending)).and_then(|()| self.file.sync_all());
        written.map_err(disk("write", &self.path))?;
        Ok(self)
    }

    /// Gives the file its place, in one step for all who look.
    pub(super) fn move_to(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, path).map_err(disk("move an object to", path))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed at the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}
