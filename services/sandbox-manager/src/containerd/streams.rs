//! Pipes with names between this program and a container.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::net::unix::pipe;

/// The pipes of a container.
pub(super) struct Streams {
    /// Goes to its standard input.
    pub(super) stdin: pipe::Sender,
    /// Comes from its standard output.
    pub(super) stdout: pipe::Receiver,
    /// Comes from its standard error.
    pub(super) stderr: pipe::Receiver,
    /// Writing ends that keep the receivers from seeing an end before the container's ends are open.
    pub(super) keepers: [File; 2],
}

/// Returns the path of a pipe.
pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

impl Streams {
    /// Makes the pipes in a folder.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        for name in ["stdin", "stdout", "stderr"] {
            mkfifo(&path(folder, name), Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        let (stdout, stdout_keeper) = receiver(&path(folder, "stdout"))?;
        let (stderr, stderr_keeper) = receiver(&path(folder, "stderr"))?;
        // Also for reading: there is no other reader yet.
        let stdin = pipe::OpenOptions::new().read_write(true).open_sender(path(folder, "stdin"))?;
        Ok(Self { stdin, stdout, stderr, keepers: [stdout_keeper, stderr_keeper] })
    }
}

fn receiver(path: &Path) -> io::Result<(pipe::Receiver, File)> {
    let receiver = pipe::OpenOptions::new().open_receiver(path)?;
    let keeper = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    Ok((receiver, keeper))
}
