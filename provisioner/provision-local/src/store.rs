//! The objects of this machine, durable before anyone is told of them.
//!
//! A snapshot and a log of what changed since. A change is in the log, and the log on the disk, before [`Store::write`] returns; when that
//! can't be, the change is taken back. Two files: `snapshot`, replaced as a whole, names the log that belongs to it, `log-N`.

mod disk;
mod format;
mod memory;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use jiff::Timestamp;
use provision_objects::{Addresses, Change, Loaded, ObjectError, Objects, Settings, Uids};
use thiserror::Error;

pub(crate) use self::disk::{Disk, Folder};
use self::format::{Entry, Header, Parsed};
#[cfg(test)]
pub(crate) use self::memory::MemoryDisk;

const SNAPSHOT: &str = "snapshot";
/// Bytes that the first line of a snapshot has at most.
const LONGEST_HEADER: u64 = 4096;
/// Bytes of log beyond which a snapshot is taken, at least.
const LEAST_LOG: u64 = 1 << 20;

/// Why the objects can't be read or kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// They can't be read.
    #[error("failed to read the objects of the state folder")]
    Read(#[source] io::Error),
    /// A change can't be made durable; nothing changed.
    #[error("failed to make the change durable; nothing was changed")]
    Write(#[source] io::Error),
    /// They were written by a newer version.
    #[error("the state folder has format {found}, this version knows up to {known}: use the newer version, or another folder")]
    Newer {
        /// Format of the folder.
        found: u64,
        /// Newest known format.
        known: u64,
    },
    /// They are damaged beyond what a crash does.
    #[error("the file `{file}` of the state folder is damaged at line {line}")]
    Damaged {
        /// Which file.
        file: String,
        /// Which line, counted from 1.
        line: usize,
    },
}

/// Looks at the objects of a folder without touching anything.
///
/// # Errors
/// [`StoreError::Newer`]; whatever else is wrong with them is told by who opens them.
pub(crate) fn refuse_newer(folder: &Path) -> Result<(), StoreError> {
    let mut first = String::new();
    let read = File::open(folder.join(SNAPSHOT)).and_then(|file| BufReader::new(file).take(LONGEST_HEADER).read_line(&mut first));
    match read.ok().and_then(|_| format::format_of(first.trim_end_matches('\n'))) {
        Some(found) if found > format::FORMAT => Err(StoreError::Newer { found, known: format::FORMAT }),
        _ => Ok(()),
    }
}

/// Why a write was not carried out.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// The rules refuse it.
    #[error(transparent)]
    Rules(#[from] ObjectError),
    /// It can't be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The objects and the disk that keeps them.
pub(crate) struct Store<D> {
    disk: D,
    objects: Objects,
    /// What its UIDs are drawn from; no other state has it.
    seed: String,
    /// Number of the log.
    log: u64,
    /// Good bytes of the log.
    length: u64,
    /// Length of the log at which a snapshot is taken.
    limit: u64,
    /// Whether the log may end in bytes of a change that was taken back.
    unclean: bool,
    /// Whether a crash might leave another snapshot than the one to which the log belongs.
    doubtful: bool,
}

impl<D: Disk> Store<D> {
    /// Reads what is there, or begins anew.
    ///
    /// A last line that a crash tore off is dropped: nobody was told of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(mut disk: D, now: Timestamp, new_seed: impl FnOnce() -> io::Result<String>) -> Result<Self, StoreError> {
        let Some(bytes) = disk.read(SNAPSHOT).map_err(StoreError::Read)? else {
            let seed = new_seed().map_err(StoreError::Read)?;
            let objects = Objects::new(settings(&seed), now);
            return Self::begin(disk, objects, seed, 1);
        };
        let (header, records) = format::snapshot(&bytes, SNAPSHOT)?;
        let name = log_name(header.log);
        let bytes = disk.read(&name).map_err(StoreError::Read)?.unwrap_or_default();
        let Parsed { entries, length } = format::log(&bytes, &name)?;
        if length < bytes.len() as u64 {
            disk.truncate(&name, length).map_err(StoreError::Write)?;
        }
        let mut loaded = Loaded { records: Vec::new(), revision: header.revision, made: header.made };
        let mut kept = format::by_key(records, SNAPSHOT)?;
        for (place, entry) in entries.into_iter().enumerate() {
            (loaded.revision, loaded.made) = (entry.revision, entry.made);
            entry.gone.iter().for_each(|key| drop(kept.remove(key)));
            let put = format::by_key(entry.put, &name).map_err(|_| StoreError::Damaged { file: name.clone(), line: place + 1 })?;
            kept.extend(put);
        }
        loaded.records = kept.into_values().collect();
        let objects = Objects::load(settings(&header.seed), loaded, now);
        let objects = objects.ok_or(StoreError::Damaged { file: SNAPSHOT.to_owned(), line: 1 })?;
        let next = header.log + 1;
        Self::begin(disk, objects, header.seed, next)
    }

    /// Goes on with a snapshot of its own, so that what was read is known to be whole.
    fn begin(disk: D, mut objects: Objects, seed: String, log: u64) -> Result<Self, StoreError> {
        objects.take_changes();
        let mut store = Self { disk, objects, seed, log, length: 0, limit: LEAST_LOG, unclean: false, doubtful: false };
        store.snapshot(log).map_err(StoreError::Write)?;
        Ok(store)
    }

    /// Returns the objects as they are on the disk.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Lets `effect` change the objects and makes that durable; returns what it answers and what changed.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing changed.
    pub(crate) fn write<T>(
        &mut self,
        now: Timestamp,
        effect: impl FnOnce(&mut Objects) -> Result<T, ObjectError>,
    ) -> Result<(T, Vec<Change>), WriteError> {
        if self.doubtful {
            self.snapshot(self.log + 1).map_err(StoreError::Write)?;
        }
        self.objects.set_time(now);
        let answer = effect(&mut self.objects);
        let changes = self.objects.take_changes();
        match answer {
            Ok(answer) => match self.keep(&changes) {
                Ok(()) => Ok((answer, changes)),
                Err(error) => {
                    self.objects.take_back(changes);
                    Err(error.into())
                }
            },
            Err(error) => {
                self.objects.take_back(changes);
                Err(error.into())
            }
        }
    }

    /// Queues an object for the controllers.
    pub(crate) fn queue(&mut self, id: provision_model::ResourceId) {
        self.objects.queue(id);
    }

    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let line = format::line(&Entry::of(changes, self.objects.revision(), self.objects.made()));
        let name = log_name(self.log);
        if self.unclean {
            self.disk.truncate(&name, self.length).map_err(StoreError::Write)?;
            self.unclean = false;
        }
        let kept = self.disk.append(&name, line.as_bytes()).and_then(|()| self.disk.sync(&name));
        if let Err(error) = kept {
            // What may have reached the disk must not come back.
            self.unclean = self.disk.truncate(&name, self.length).is_err();
            return Err(StoreError::Write(error));
        }
        self.length += line.len() as u64;
        if self.length > self.limit {
            let next = self.log + 1;
            // The log holds everything; a snapshot that failed is tried again when the log has grown further.
            if let Err(error) = self.snapshot(next) {
                tracing::warn!(%error, "no snapshot of the objects could be taken");
                self.limit = self.length + LEAST_LOG;
                self.doubtful = !self.names_this_log();
            }
        }
        Ok(())
    }

    /// Tells whether the snapshot on the disk is still the one to which the log belongs.
    fn names_this_log(&self) -> bool {
        let snapshot = self.disk.read(SNAPSHOT).ok().flatten();
        snapshot.is_some_and(|bytes| format::snapshot(&bytes, SNAPSHOT).is_ok_and(|(header, _)| header.log == self.log))
    }

    /// Writes everything anew and begins a log of that number.
    fn snapshot(&mut self, log: u64) -> io::Result<()> {
        let header = Header::of(&self.objects, &self.seed, log);
        let text = format::write_snapshot(&header, &self.objects);
        self.disk.replace(&log_name(log), b"")?;
        self.disk.replace(SNAPSHOT, text.as_bytes())?;
        (self.log, self.length, self.unclean, self.doubtful) = (log, 0, false, false);
        self.limit = LEAST_LOG.max(text.len() as u64);
        // Nothing names the one before any more.
        let _ = self.disk.remove(&log_name(log.saturating_sub(1)));
        Ok(())
    }
}

fn log_name(number: u64) -> String {
    format!("log-{number}")
}

fn settings(seed: &str) -> Settings {
    // The host reserves an address of its own for each Service; these are for what it does not know of.
    let services = Addresses { first: [10, 96, 0, 0].into(), count: 1 << 16 };
    Settings { uids: Uids::Seeded(seed.to_owned()), services, graceful: true }
}
