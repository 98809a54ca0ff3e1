//! The broker as a child of this program.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use service_kit::ForeignServer;
use thiserror::Error;

use crate::folder::Folder;
use crate::installed::Installed;
use crate::log;

/// How long a broker has to close its log; killed, it recovers at the next start.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
#[error("failed to start Java")]
pub(crate) struct StartError(#[source] io::Error);

/// Starts the broker with its settings.
///
/// # Errors
/// If it can't be started; that it does not stay is for [`ForeignServer::ended`] to say.
pub(crate) fn start(folder: &Folder, installed: &Installed, heap: u32, settings: &Path) -> Result<ForeignServer, StartError> {
    let mut command = folder.command(installed, heap, "kafka.Kafka");
    let (reader, writer) = io::pipe().map_err(StartError)?;
    let errors = writer.try_clone().map_err(StartError)?;
    command.arg(settings).stdout(Stdio::from(writer)).stderr(Stdio::from(errors));
    let child = command.spawn().map_err(StartError)?;
    // Ours are closed with it: the log ends when the broker's do.
    drop(command);
    let reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).map_err(StartError)?;
    Ok(ForeignServer::new("Kafka", child, reader, log::take))
}

/// Ends the broker: it closes its log, or is killed if that takes too long.
pub(crate) async fn shut_down(broker: &mut ForeignServer) {
    broker.shut_down([Signal::SIGTERM, Signal::SIGKILL].map(|signal| (signal, PATIENCE))).await;
}
