//! The stages of a process's end.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// Tells the parts of a service how far its end has come; clones tell the same.
///
/// *Draining*: clients are sent elsewhere, requests are still taken. *Stopping*: no new work, what runs is finished.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    stopping: CancellationToken,
}

impl Lifecycle {
    /// Tells whether clients should go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until clients should go elsewhere.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.draining.clone().cancelled_owned()
    }

    /// Waits until no new work is to be taken.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stopping.clone().cancelled_owned()
    }

    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    pub(crate) fn stop(&self) {
        self.draining.cancel();
        self.stopping.cancel();
    }
}
