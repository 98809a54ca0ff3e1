use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// What asks the program to end: Ctrl-C, or SIGTERM as build servers send it.
pub(crate) struct Interrupts {
    ctrl_c: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From here on these signals no longer end the process by themselves, and none of them is missed.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|source| CliError::Signals { source });
        Ok(Self { ctrl_c: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
