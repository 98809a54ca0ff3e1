//! What came of a write, as values: for watchers, for a log, and to take it back.

use std::sync::Arc;

use provision_model::ResourceId;

use crate::objects::{Objects, Stored};

/// One object, before and after a write.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which object.
    pub id: ResourceId,
    /// As it was; `None` if it was not there.
    pub before: Option<Arc<Stored>>,
    /// As it is now; for a deletion its last state, under the version of the deletion.
    pub after: Arc<Stored>,
    /// Whether it is gone.
    pub is_gone: bool,
}

impl Objects {
    /// Hands out what changed since the last time, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Takes changes back that nobody was told of, as if they had never been asked for; what they queued stays queued.
    ///
    /// They must be the last ones, all of them. Versions and UIDs are given once all the same.
    pub fn take_back(&mut self, changes: Vec<Change>) {
        for change in changes.into_iter().rev() {
            self.replace(&change.id, change.before);
            self.queue(change.id);
        }
        self.serve_crds();
        self.changes.clear();
    }
}
