use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::kubelet::Report;

/// Where everything goes that is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Reports(UnboundedSender<Report>);

impl Reports {
    pub(crate) fn new() -> (Self, UnboundedReceiver<Report>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn send(&self, report: Report) {
        // Nobody listens any more when the runtime is dropped.
        drop(self.0.send(report));
    }
}
