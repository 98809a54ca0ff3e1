//! git's own daemon as a supervised child.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use service_kit::{BoxError, Lifecycle};
use thiserror::Error;
use tokio::process::{Child, Command};

#[derive(Debug, Error)]
enum ServeError {
    #[error("failed to start `git daemon`; install it with `apt install git`")]
    Start(#[source] io::Error),
    #[error("`git daemon` ended with {0}: the port may be taken")]
    Ended(std::process::ExitStatus),
}

/// The daemon; with all that it started it ends when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    group: Option<Pid>,
}

impl Daemon {
    pub(crate) fn start(address: SocketAddr, folder: &Path) -> Result<Self, BoxError> {
        let child = Command::new("git")
            .arg("daemon")
            .args(["--reuseaddr", "--export-all", "--enable=receive-pack", "--informative-errors", "--init-timeout=10", "--timeout=600"])
            .arg(format!("--listen={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", folder.display()))
            .arg("--")
            .arg(folder)
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
            // The folder's owner may be another user than this one, as with volumes of root.
            .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")])
            .process_group(0)
            .spawn()
            .map_err(ServeError::Start)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        tracing::info!(server = "git", %address, port = address.port(), "listening");
        Ok(Self { child, group })
    }

    pub(crate) async fn run(mut self, lifecycle: Lifecycle) -> Result<(), BoxError> {
        tokio::select! {
            ended = self.child.wait() => Err(ServeError::Ended(ended?).into()),
            () = lifecycle.stopping() => {
                self.signal(Signal::SIGTERM);
                self.child.wait().await?;
                Ok(())
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // Fails only if all of them have ended.
        self.group.map(|group| killpg(group, signal).ok());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
