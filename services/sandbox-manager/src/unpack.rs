//! A tar archive from outside becomes a workspace: regular files, folders and links that stay inside, or nothing.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};
use thiserror::Error;

/// Most files, folders and links.
pub(crate) const MOST_ENTRIES: usize = 200_000;
/// Longest path, in bytes.
const LONGEST_PATH: usize = 2048;

/// Why an archive is not unpacked; paths in it are cleaned of control characters.
#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    /// Not an archive, or one that breaks off.
    #[error("the archive can't be read")]
    Archive(#[source] io::Error),
    /// A path that is absolute or leaves the workspace, or leads over a link.
    #[error("the archive holds a path that leaves the workspace: {0:?}")]
    Path(String),
    /// A link that leads out.
    #[error("the archive holds a link that leaves the workspace: {0:?}")]
    Link(String),
    /// A path twice.
    #[error("the archive holds a path twice: {0:?}")]
    Twice(String),
    /// A device, a hard link, or what else is no plain file.
    #[error("the archive holds something else than files, folders and links: {0:?}")]
    Kind(String),
    /// Too many entries or bytes.
    #[error("the archive holds more than {0}")]
    Size(String),
    /// The disk.
    #[error("failed to write the workspace")]
    Write(#[source] io::Error),
}

/// What an archive may hold, and whose it becomes.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Most bytes of all files.
    pub(crate) bytes: u64,
    /// Most entries.
    pub(crate) entries: usize,
    /// User and group of everything, if not this program's own.
    pub(crate) owner: Option<u32>,
}

/// Unpacks an archive into an empty folder that nobody else writes.
///
/// # Errors
/// [`UnpackError`] at the first entry that is not taken; what came before it is there.
pub(crate) fn unpack(archive: impl Read, folder: &Path, bounds: &Bounds) -> Result<(), UnpackError> {
    let mut unpacking = Unpacking { folder, bounds, left: bounds.bytes, entries: 0, folders: BTreeSet::new() };
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        unpacking.take(entry.map_err(UnpackError::Archive)?)?;
    }
    Ok(())
}

struct Unpacking<'a> {
    folder: &'a Path,
    bounds: &'a Bounds,
    left: u64,
    entries: usize,
    /// Folders that were made here: what is below them is below no link.
    folders: BTreeSet<PathBuf>,
}

impl Unpacking<'_> {
    fn take(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        // git writes the commit's id into one of these.
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let shown = shown(&entry.path_bytes());
        let path = inside(&entry.path().map_err(UnpackError::Archive)?).ok_or_else(|| UnpackError::Path(shown.clone()))?;
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        self.count(1)?;
        self.make_folders(path.parent(), &shown)?;
        let target = self.folder.join(&path);
        match kind {
            EntryType::Directory => self.make_folders(Some(&path), &shown),
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                self.write(&mut entry, &target, executable, &shown)?;
                self.own(&target)
            }
            EntryType::Symlink => {
                let link = entry.link_name().map_err(UnpackError::Archive)?.map(|link| link.into_owned());
                let link = link.filter(|link| stays_inside(&path, link)).ok_or_else(|| UnpackError::Link(shown.clone()))?;
                symlink(link, &target).map_err(|error| refused(error, &shown))?;
                self.own(&target)
            }
            _ => Err(UnpackError::Kind(shown)),
        }
    }

    fn count(&mut self, entries: usize) -> Result<(), UnpackError> {
        self.entries += entries;
        if self.entries > self.bounds.entries { Err(UnpackError::Size(format!("{} entries", self.bounds.entries))) } else { Ok(()) }
    }

    /// Makes a folder and those above it; one that is a link or a file is refused.
    fn make_folders(&mut self, path: Option<&Path>, shown: &str) -> Result<(), UnpackError> {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty() && !self.folders.contains(*path)) else { return Ok(()) };
        let mut built = PathBuf::new();
        for name in path.components() {
            built.push(name);
            if self.folders.contains(&built) {
                continue;
            }
            let target = self.folder.join(&built);
            match DirBuilder::new().mode(0o755).create(&target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(UnpackError::Path(shown.to_owned())),
                made => made.map_err(UnpackError::Write)?,
            }
            self.own(&target)?;
            self.count(1)?;
            self.folders.insert(built.clone());
        }
        Ok(())
    }

    fn write(&mut self, entry: &mut Entry<'_, impl Read>, target: &Path, executable: bool, shown: &str) -> Result<(), UnpackError> {
        let over = || UnpackError::Size(format!("{} MiB", self.bounds.bytes >> 20));
        self.left = self.left.checked_sub(entry.size()).ok_or_else(over)?;
        let mode = if executable { 0o755 } else { 0o644 };
        // Never opens what is there, be it a link.
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(target);
        let mut file = file.map_err(|error| refused(error, shown))?;
        let size = entry.size();
        let written = io::copy(entry, &mut file).map_err(UnpackError::Archive)?;
        if written == size { Ok(()) } else { Err(UnpackError::Archive(io::ErrorKind::UnexpectedEof.into())) }
    }

    fn own(&self, path: &Path) -> Result<(), UnpackError> {
        match self.bounds.owner {
            Some(owner) => lchown(path, Some(owner), Some(owner)).map_err(UnpackError::Write),
            None => Ok(()),
        }
    }
}

fn refused(error: io::Error, shown: &str) -> UnpackError {
    if error.kind() == io::ErrorKind::AlreadyExists { UnpackError::Twice(shown.to_owned()) } else { UnpackError::Write(error) }
}

/// Returns a path without `.`, if it is relative and has no `..`.
fn inside(path: &Path) -> Option<PathBuf> {
    if path.as_os_str().len() > LONGEST_PATH {
        return None;
    }
    let mut kept = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => kept.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(kept)
}

/// Tells whether a link at `path` leads to something in the workspace.
///
/// `..` is taken at the beginning only, where it leaves folders that were made here: behind a name that is itself a link it would leave
/// what that leads to.
fn stays_inside(path: &Path, link: &Path) -> bool {
    let (mut above, mut named) = (path.components().count() - 1, false);
    for part in link.components() {
        match part {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if above > 0 && !named => above -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !link.as_os_str().is_empty() && link.as_os_str().len() <= LONGEST_PATH
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Returns the bytes of all files below a folder, and the number of all that is there.
///
/// # Errors
/// If a part of it can't be looked into, though it is there.
pub(crate) fn measure(folder: &Path) -> io::Result<(u64, usize)> {
    let (mut bytes, mut entries, mut folders) = (0, 0, vec![folder.to_owned()]);
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    while let Some(folder) = folders.pop() {
        let listed = match fs::read_dir(&folder) {
            Err(error) if gone(&error) => continue,
            listed => listed?,
        };
        for entry in listed {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if gone(&error) => continue,
                metadata => metadata?,
            };
            entries += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    Ok((bytes, entries))
}

#[cfg(test)]
mod tests;
