//! The broker as a child of this program.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::folder::Folder;
use crate::installed::Installed;
use crate::log;

/// How long a broker has to close its log; killed, it recovers at the next start.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
#[error("failed to start Java")]
pub(crate) struct StartError(#[source] io::Error);

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    last_failure: watch::Receiver<String>,
    log: JoinHandle<()>,
}

impl Broker {
    /// Starts the broker with its settings.
    ///
    /// # Errors
    /// If it can't be started; that it does not stay is for [`Broker::ended`] to say.
    pub(crate) fn start(folder: &Folder, installed: &Installed, heap: u32, settings: &Path) -> Result<Self, StartError> {
        let mut command = folder.command(installed, heap, "kafka.Kafka");
        let (reader, writer) = io::pipe().map_err(StartError)?;
        let errors = writer.try_clone().map_err(StartError)?;
        command.arg(settings).stdout(Stdio::from(writer)).stderr(Stdio::from(errors));
        let child = command.spawn().map_err(StartError)?;
        // Ours are closed with it: the log ends when the broker's do.
        drop(command);
        let reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).map_err(StartError)?;
        let (sender, last_failure) = watch::channel(String::new());
        Ok(Self { child, last_failure, log: tokio::spawn(log::relay(reader, sender)) })
    }

    /// Waits for the broker's end, and returns it with its last words.
    pub(crate) async fn ended(&mut self) -> String {
        let ended = self.child.wait().await;
        drop(timeout(Duration::from_secs(1), &mut self.log).await);
        let words = self.last_failure.borrow().clone();
        let how = ended.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        if words.is_empty() { how } else { format!("{how}: {words}") }
    }

    /// Ends the broker: it closes its log, or is killed if that takes too long.
    pub(crate) async fn shut_down(&mut self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
            // Not waited for yet, so the id is still its own.
            if let Err(error) = kill(Pid::from_raw(pid), signal) {
                tracing::debug!(pid, %error, "the signal reached nobody");
            }
            if timeout(PATIENCE, self.child.wait()).await.is_ok() {
                drop(timeout(Duration::from_secs(1), &mut self.log).await);
                return;
            }
            tracing::warn!(signal = signal.as_str(), "Kafka does not end");
        }
    }
}
