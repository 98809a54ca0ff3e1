//! What the manager tells the other roles, and what they report.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Variable with the plan, as JSON; never one of the command's.
pub(crate) const VARIABLE: &str = "SANDBOX_PLAN";

/// Name of the folder with the files.
pub(crate) const WORKSPACE: &str = "workspace";
/// Name of the folder on which the sandbox's own root is mounted.
pub(crate) const ROOT: &str = "root";

/// Most files that a process may have open.
pub(crate) const OPEN_FILES: u64 = 4096;

/// What a sandbox is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Namespaces that root makes.
    Root,
    /// Namespaces below a user namespace, which an ordinary user may make.
    User,
    /// No namespaces.
    Bare,
}

/// What one sandbox is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What it is made of.
    pub(crate) mode: Mode,
    /// Folder with [`WORKSPACE`] and [`ROOT`].
    pub(crate) folder: PathBuf,
    /// Command and arguments; none tries out the rest.
    pub(crate) command: Vec<String>,
    /// Variables of the command.
    pub(crate) environment: BTreeMap<String, String>,
    /// What it sees of the machine.
    pub(crate) readable: Vec<PathBuf>,
    /// User and group that it becomes, if root makes it.
    pub(crate) user: Option<u32>,
    /// Control groups to join.
    pub(crate) groups: Vec<PathBuf>,
    /// Most processes of its user, if no control group holds their number.
    pub(crate) processes: Option<u64>,
    /// Most bytes of a file.
    pub(crate) file_size: u64,
    /// Most bytes of `/tmp`.
    pub(crate) tmp_size: u64,
    /// Most seconds of CPU of one process.
    pub(crate) cpu_seconds: u64,
    /// Most bytes of data of one process, if no control group holds the memory.
    pub(crate) data_size: Option<u64>,
}

impl Plan {
    /// Reads the plan that the manager gave.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let text = std::env::var(VARIABLE).map_err(io::Error::other)?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }
}

/// What the first process of a container is told, a line of JSON on its standard input; orders follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errand {
    /// Command and arguments; none ends at once.
    pub(crate) command: Vec<String>,
    /// Variables of the command.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What the other roles report, each a line of JSON on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// All is set up; the command starts.
    Ready {
        /// What holds it.
        isolation: Vec<String>,
    },
    /// It can't be set up.
    Failed {
        /// What failed.
        what: String,
    },
    /// The command has ended, and all that it started.
    Ended {
        /// Exit code; 128 + n when signal n ended it.
        code: i32,
    },
}

/// What the manager tells init, each a byte on its standard input. The end of that means [`Order::Kill`] without a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ask all to end, kill what does not.
    Terminate,
    /// Kill all.
    Kill,
}

impl Order {
    /// Returns the byte.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Terminate => b't',
            Self::Kill => b'k',
        }
    }

    /// Reads the byte.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::Terminate, Self::Kill].into_iter().find(|order| order.byte() == byte)
    }
}

/// Sends a report; who does not get it learns from the socket's end.
pub(crate) fn send(mut socket: &UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        drop(socket.write_all(&line));
    }
}
