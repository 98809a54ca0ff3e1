//! What sandboxes are made of: one trait for each way to make them.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::sync::mpsc::UnboundedSender;

use crate::plan::Order;
use crate::spec::Spec;

/// A stream that a command writes to.
pub(crate) type Stream = Pin<Box<dyn AsyncRead + Send>>;

/// What is to run, and where.
#[derive(Clone, Debug)]
pub(crate) struct Work<'a> {
    /// The command and its limits.
    pub(crate) spec: &'a Spec,
    /// Folder of this sandbox, made by [`Runtime::prepare`].
    pub(crate) folder: &'a Path,
    /// Number of its place.
    pub(crate) slot: usize,
}

/// A sandbox that runs; all in it ends when this is dropped.
pub(crate) struct Running {
    /// Standard output.
    pub(crate) stdout: Stream,
    /// Standard error.
    pub(crate) stderr: Stream,
    /// Takes orders.
    pub(crate) orders: UnboundedSender<Order>,
    /// What holds it.
    pub(crate) isolation: Vec<String>,
    /// Resolves when all in it has ended.
    pub(crate) ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
}

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code; 128 + n when signal n ended the command.
    pub(crate) exit_code: i32,
    /// How often the memory limit killed a process in it.
    pub(crate) oom_kills: u64,
}

/// A sandbox that can't be made or removed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct RuntimeError(pub(crate) String);

/// Isolation that is required and not there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("this machine does not offer {} to sandboxes (SANDBOX_REQUIRED_ISOLATION); it offers {}", .missing.join(", "), .offered.join(", "))]
pub(crate) struct MissingIsolation {
    missing: Vec<String>,
    offered: Vec<String>,
}

/// Tells what holds sandboxes, and checks that it holds all that is required.
///
/// # Errors
/// [`MissingIsolation`] if it does not.
pub(crate) fn require(required: &[String], offered: &[String]) -> Result<(), MissingIsolation> {
    tracing::info!(isolation = offered.join(","), "sandboxes are held by these");
    let missing: Vec<String> = required.iter().filter(|name| !offered.contains(name)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingIsolation { missing, offered: offered.to_vec() }) }
}

/// Makes and removes sandboxes.
pub(crate) trait Runtime: Send + Sync + 'static {
    /// Makes an empty workspace for a sandbox; returns its folder and the user that its files belong to, if that is another one.
    fn prepare(&self, spec: &Spec, slot: usize) -> impl Future<Output = Result<Prepared, RuntimeError>> + Send;

    /// Starts the command.
    fn start(&self, work: Work<'_>) -> impl Future<Output = Result<Running, RuntimeError>> + Send;

    /// Returns the memory that a sandbox uses, in bytes, if nothing but a look at it now and then limits that.
    fn watched_memory(&self, folder: &Path) -> Option<u64>;

    /// Waits until no sandbox can be made any more, though a new start of this program may help; returns why.
    fn lost(&self) -> impl Future<Output = RuntimeError> + Send;

    /// Ends what is left of a sandbox and removes it.
    fn remove(&self, folder: &Path) -> impl Future<Output = Result<(), RuntimeError>> + Send;
}

/// An empty workspace.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Folder of the sandbox.
    pub(crate) folder: std::path::PathBuf,
    /// Owner of its files.
    pub(crate) owner: Option<u32>,
}
