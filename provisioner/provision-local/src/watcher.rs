//! Brings a supervisor back that ended without having been told to.
//!
//! A second process waits for the supervisor's lock, which the kernel releases however its holder ends, and then becomes the next supervisor
//! itself. The supervisor starts the watcher, starts another one when it is gone, and ends it before it ends in order. Both would have to be
//! killed at the same moment for nobody to be left; the next command starts them then.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Launch;
use crate::socket;

/// A supervisor that ended sooner is not started again at once.
const BRIEF: Duration = Duration::from_secs(10);
/// Time between the end of a watcher, or of a supervisor that ended soon, and the start of the next one.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until no supervisor works on a state folder.
///
/// # Errors
/// When the folder can't be used.
pub fn wait_for_end(state: &Path) -> io::Result<()> {
    let control = socket::control(state)?;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(control.join("supervisor.lock"))?;
    let begun = Instant::now();
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| io::Error::from(error))?;
    drop(lock);
    if begun.elapsed() < BRIEF {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A watcher that is always there, until it is ended.
pub(crate) struct Watched {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Watched {
    /// Starts the watcher, and again whenever it is gone.
    pub(crate) fn start(launch: Launch) -> Self {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let mut watcher = match spawn(&launch) {
                    Ok(watcher) => Some(watcher),
                    Err(error) => {
                        tracing::warn!(%error, "nobody watches the supervisor");
                        None
                    }
                };
                let gone = async {
                    if let Some(watcher) = &mut watcher {
                        drop(watcher.wait().await);
                    }
                    tokio::time::sleep(PAUSE).await;
                };
                tokio::select! {
                    () = gone => {}
                    _ = &mut ended => {
                        if let Some(watcher) = &mut watcher {
                            drop(watcher.kill().await);
                        }
                        return;
                    }
                }
            }
        });
        Self { end, task }
    }

    /// Ends the watcher, and returns when it is gone.
    pub(crate) async fn end(self) {
        // Fails only if the task has ended already.
        self.end.send(()).ok();
        drop(self.task.await);
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    Command::new(&launch.program).args(&launch.arguments).stdin(Stdio::null()).current_dir("/").process_group(0).spawn()
}
