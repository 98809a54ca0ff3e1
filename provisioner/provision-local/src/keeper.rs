//! One process for each run of a container, which outlives the supervisor: it starts the program, keeps its log and writes down how it ended.
//!
//! The same program in another role. A keeper leads a session and is the reaper of everything below it, so that nothing of a container is
//! left when it ends. Its record is durable before the program starts; when it ends, how the program ended is durable.

mod check;
mod guard;
mod launch;
mod log;
mod pid;
mod record;
mod sweep;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

pub(crate) use self::check::{CheckAnswer, CheckRequest};
pub(crate) use self::log::tail;
pub(crate) use self::pid::ProcessRef;
pub(crate) use self::record::{
    ExitRecord, HealthRecord, Identity, KeeperRecord, LaunchSpec, LogLimits, RunFolder, RunSpec, StopRequest, now, read as read_record,
    write as write_record,
};
pub(crate) use self::sweep::end_remains;

/// Variable by which everything that a run started is found again when its keeper was killed.
pub(crate) const RUN_VARIABLE: &str = "PROVISION_RUN";

/// Why a keeper or what it does failed.
#[derive(Debug, Error)]
pub(crate) enum KeeperError {
    /// The role is not one of a keeper.
    #[error("the keeper has no role {role:?}")]
    Role {
        /// What was asked for.
        role: String,
    },
    /// A file can't be read or written.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than expected.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The kernel refuses something.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Adds what was tried to an error of the operating system.
pub(crate) trait KernelContext<T> {
    /// Names what was tried.
    fn trying(self, action: &'static str) -> Result<T, KeeperError>;
}

impl<T, E: Into<std::io::Error>> KernelContext<T> for Result<T, E> {
    fn trying(self, action: &'static str) -> Result<T, KeeperError> {
        self.map_err(|source| KeeperError::Kernel { action, source: source.into() })
    }
}

/// Runs the keeper's part of the program: `args` are those behind the words that make the program a keeper.
///
/// Roles: `run FOLDER` keeps one run of a container, `launch` becomes a program, `check` runs one command for a probe.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let role = args.next().unwrap_or_default();
    let result = match (role.to_str(), args.next()) {
        (Some("run"), Some(folder)) => guard::run(&RunFolder::new(PathBuf::from(folder))),
        (Some("launch"), None) => launch::become_program().map(|never| match never {}),
        (Some("check"), None) => check::answer(),
        _ => Err(KeeperError::Role { role: role.to_string_lossy().into_owned() }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            launch::complain(&error);
            ExitCode::from(launch::NOT_STARTED)
        }
    }
}
