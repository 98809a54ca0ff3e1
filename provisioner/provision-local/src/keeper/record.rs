//! The files of one run of a container, and how they become durable.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::KeeperError;
use super::pid::ProcessRef;

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Other groups.
    pub(crate) groups: Vec<u32>,
}

/// How a program is started. It holds secret values and has no `Debug` for that reason.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LaunchSpec {
    /// Program, an absolute path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// All of its variables.
    pub(crate) env: Vec<(String, String)>,
    /// Folder in which it starts.
    pub(crate) cwd: PathBuf,
    /// Who it runs as; none: whoever we are.
    pub(crate) identity: Option<Identity>,
    /// Control groups that it joins.
    pub(crate) groups: Vec<PathBuf>,
    /// Most bytes of data of one process, where no control group limits memory.
    pub(crate) data_limit: Option<u64>,
    /// Where it is written down that the program could not be started.
    pub(crate) failure: Option<PathBuf>,
    /// Process that starts it; the program is killed when that one ends.
    pub(crate) parent: i32,
}

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLimits {
    /// Most bytes of one file.
    pub(crate) bytes: u64,
    /// Most files, the newest counted.
    pub(crate) files: u32,
}

/// One run of a container.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunSpec {
    /// Name of the run, of no other one on this machine: value of [`super::RUN_VARIABLE`].
    pub(crate) run: String,
    /// Words behind the program's name that make it a keeper.
    pub(crate) role: Vec<String>,
    /// What is started.
    pub(crate) launch: LaunchSpec,
    /// Milliseconds between the signal to stop and SIGKILL, unless a request to stop says otherwise.
    pub(crate) grace_ms: u64,
    /// Signal that asks the program to stop: `SIGTERM`.
    pub(crate) stop_signal: String,
    /// How much of its log is kept.
    pub(crate) log: LogLimits,
    /// Ends in a row before this run.
    pub(crate) ends: u32,
}

/// Who keeps a run; durable before the program starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeeperRecord {
    /// The keeper.
    pub(crate) keeper: ProcessRef,
    /// Start of the machine that its start time counts from.
    pub(crate) boot: String,
    /// Whether it was told to start the program; until then it has not, and ends when whoever asked has ended.
    pub(crate) begun: bool,
}

impl KeeperRecord {
    /// Tells whether that keeper runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == super::pid::boot() && self.keeper.is_alive()
    }
}

/// The program of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramRecord {
    /// The process.
    pub(crate) program: ProcessRef,
    /// When it was started.
    pub(crate) started: Timestamp,
}

/// A request to stop, read when the keeper gets SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopRequest {
    /// Milliseconds until SIGKILL.
    pub(crate) grace_ms: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    /// Exit code; 128 + signal if a signal ended it.
    pub(crate) exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub(crate) reason: String,
    /// What is to be said about it; may be empty.
    pub(crate) message: String,
    /// When it was started.
    pub(crate) started: Timestamp,
    /// When it ended.
    pub(crate) finished: Timestamp,
}

/// What the probes of a run have found out, for a supervisor that comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct HealthRecord {
    /// Whether it has started.
    pub(crate) started: bool,
    /// Whether it is ready.
    pub(crate) ready: bool,
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFolder(PathBuf);

impl RunFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn failure(&self) -> PathBuf {
        self.0.join("failure")
    }

    pub(crate) fn diary(&self) -> PathBuf {
        self.0.join("keeper.log")
    }

    pub(crate) fn spec(&self) -> Result<Option<RunSpec>, KeeperError> {
        read(&self.0.join("run.json"))
    }

    pub(crate) fn write_spec(&self, spec: &RunSpec) -> Result<(), KeeperError> {
        write(&self.0.join("run.json"), spec)
    }

    pub(crate) fn keeper(&self) -> Result<Option<KeeperRecord>, KeeperError> {
        read(&self.0.join("keeper.json"))
    }

    pub(crate) fn write_keeper(&self, record: &KeeperRecord) -> Result<(), KeeperError> {
        write(&self.0.join("keeper.json"), record)
    }

    pub(crate) fn program(&self) -> Result<Option<ProgramRecord>, KeeperError> {
        read(&self.0.join("program.json"))
    }

    pub(crate) fn write_program(&self, record: &ProgramRecord) -> Result<(), KeeperError> {
        write(&self.0.join("program.json"), record)
    }

    pub(crate) fn stop(&self) -> Result<Option<StopRequest>, KeeperError> {
        read(&self.0.join("stop.json"))
    }

    pub(crate) fn write_stop(&self, request: &StopRequest) -> Result<(), KeeperError> {
        write(&self.0.join("stop.json"), request)
    }

    pub(crate) fn health(&self) -> Result<Option<HealthRecord>, KeeperError> {
        read(&self.0.join("health.json"))
    }

    pub(crate) fn write_health(&self, record: &HealthRecord) -> Result<(), KeeperError> {
        write(&self.0.join("health.json"), record)
    }

    pub(crate) fn exit(&self) -> Result<Option<ExitRecord>, KeeperError> {
        read(&self.0.join("exit.json"))
    }

    pub(crate) fn write_exit(&self, record: &ExitRecord) -> Result<(), KeeperError> {
        write(&self.0.join("exit.json"), record)
    }
}

/// The time, as the records have it.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Reads a record; none where no file is.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, KeeperError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| KeeperError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeeperError::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Writes a record for the owner only; it is durable and whole, or not there.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::File { action: "write", path: path.to_owned(), source };
    let bytes = serde_json::to_vec(record).map_err(|error| failed(io::Error::other(error)))?;
    replace(path, &bytes).map_err(failed)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
