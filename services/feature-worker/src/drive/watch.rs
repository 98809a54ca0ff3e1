//! Whether work that runs is still wanted.

use std::time::Duration;

use feature_store::{StoreError, is_final};
use uuid::Uuid;

use super::{Left, Stop};
use crate::journal::Journal;

/// Looks at the feature, the lock and the process while work on the feature runs.
pub(crate) struct Watch<'a, J: Journal> {
    journal: &'a J,
    stop: &'a Stop,
    pub(crate) feature: Uuid,
    /// How long steps took so far.
    pub(crate) worked: Duration,
    lock: J::Lock,
    period: Duration,
}

impl<'a, J: Journal> Watch<'a, J> {
    pub(crate) fn new(journal: &'a J, stop: &'a Stop, (feature, lock): (Uuid, J::Lock), period: Duration) -> Self {
        Self { journal, stop, feature, worked: Duration::ZERO, lock, period }
    }

    /// Returns the lock, to be given back.
    pub(crate) fn into_lock(self) -> J::Lock {
        self.lock
    }

    /// Tells whether something new may be begun.
    pub(crate) fn may_begin(&self) -> bool {
        !self.stop.begin_nothing.is_cancelled()
    }

    /// Waits until work that runs must be dropped, and tells why.
    pub(crate) async fn must_leave(&mut self) -> Left {
        let stop = self.stop;
        tokio::select! {
            left = self.unwanted() => left,
            () = stop.drop_everything.cancelled() => Left::Stopping,
        }
    }

    /// Waits until the feature has ended or the lock is gone.
    async fn unwanted(&mut self) -> Left {
        loop {
            tokio::time::sleep(self.period).await;
            if !self.journal.holds(&mut self.lock).await {
                return Left::LockLost;
            }
            match self.journal.state(self.feature).await {
                Ok(state) if is_final(state) => return Left::Ended,
                Err(StoreError::NotFound(_)) => return Left::Ended,
                // The next look may tell more; without the database the lock is soon gone as well.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Waits; returns early with the reason if something ends the work.
    pub(crate) async fn rest(&mut self, wait: Duration) -> Result<(), Left> {
        let stop = self.stop;
        self.worked += wait;
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = stop.begin_nothing.cancelled() => Err(Left::Stopping),
            left = self.must_leave() => Err(left),
        }
    }
}
