//! The server as a child of this program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_kit::ForeignServer;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use crate::cluster::Folder;
use crate::programs::Programs;
use crate::{log, settings};

/// How long a server has for a fast shutdown; then its processes end without a checkpoint, which costs a recovery at the next start.
const FAST: Duration = Duration::from_secs(10);
/// A fast shutdown, then one without a checkpoint.
const ENDS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];
const POLL: Duration = Duration::from_millis(50);

/// Who may log in: over TCP with a password only.
const ACCESS_RULES: &str = "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n";

#[derive(Debug, Error)]
pub(crate) enum ServerError {
    #[error("failed to write `{path}`")]
    Rules {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to start PostgreSQL")]
    Start(#[source] io::Error),
    #[error("PostgreSQL of an earlier run (process {0}) does not end")]
    Leftover(i32),
}

/// Starts the server on its data folder.
///
/// # Errors
/// If it can't be started; that it does not stay is for [`ForeignServer::ended`] to say.
pub(crate) fn start(folder: &Folder, programs: &Programs, listen: &[String]) -> Result<ForeignServer, ServerError> {
    let rules = folder.access_rules();
    fs::write(&rules, ACCESS_RULES).map_err(|source| ServerError::Rules { path: rules.display().to_string(), source })?;
    let mut command = folder.command(programs, &[], "INT", &programs.path("postgres"));
    // Below the data folder's parent: an absolute path may be longer than a socket's can be.
    command.arg("-D").arg(folder.data()).args(["-k", "../socket", "-c"]).arg(format!("hba_file={}", rules.display()));
    command.args(listen).args(settings::arguments());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(ServerError::Start)?;
    let output = child.stderr.take().ok_or_else(|| ServerError::Start(io::Error::other("it has no standard error")))?;
    Ok(ForeignServer::new("PostgreSQL", child, output, log::take))
}

/// Shuts the server down: what was committed is there, what was not is undone.
pub(crate) async fn shut_down(server: &mut ForeignServer) {
    server.shut_down(ENDS.map(|signal| (signal, FAST))).await;
}

fn send(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, %error, "the signal reached nobody");
    }
}

/// Ends a server that an earlier run left on the data folder.
///
/// # Errors
/// If it does not end.
pub(crate) async fn end_leftover(data: &Path) -> Result<(), ServerError> {
    for signal in ENDS {
        let Some(pid) = leftover(data) else { return Ok(()) };
        tracing::warn!(pid, signal = signal.as_str(), "ending the PostgreSQL of an earlier run");
        send(pid, signal);
        let gone = async {
            while leftover(data).is_some() {
                sleep(POLL).await;
            }
        };
        if timeout(FAST, gone).await.is_ok() {
            return Ok(());
        }
    }
    leftover(data).map_or(Ok(()), |pid| Err(ServerError::Leftover(pid)))
}

/// Returns the process that serves the data folder: the one named there, if it works in it. Its id may be another one's by now.
fn leftover(data: &Path) -> Option<i32> {
    let pid: i32 = fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
    let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (works_in == fs::canonicalize(data).ok()?).then_some(pid)
}
