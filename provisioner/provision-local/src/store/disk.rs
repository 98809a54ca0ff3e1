//! The few things that the store asks of a disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A folder of files.
pub(crate) trait Disk: Send + 'static {
    /// Reads a file; `None` if it is not there.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a file as a whole: after a crash it is the old one or the new one. Durable on return.
    fn replace(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Adds to the end of a file that is there. Durable only after [`Disk::sync`]; on an error a part may be written.
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Makes durable what was appended.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file off. Durable on return.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// Removes a file; it may come back after a crash.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder that only its owner may enter.
pub(crate) struct Folder {
    path: PathBuf,
    appended: Option<(String, File)>,
}

impl Folder {
    /// Opens a folder; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self { path: path.to_owned(), appended: None })
    }

    fn appending(&mut self, name: &str) -> io::Result<&mut File> {
        let open = match self.appended.take() {
            Some((open, file)) if open == name => file,
            _ => OpenOptions::new().append(true).open(self.path.join(name))?,
        };
        Ok(&mut self.appended.insert((name.to_owned(), open)).1)
    }
}

impl Disk for Folder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(name))?;
        self.appended = None;
        File::open(&self.path)?.sync_all()
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.appending(name)?.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.appending(name)?.sync_data()
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let file = self.appending(name)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}
