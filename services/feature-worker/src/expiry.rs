//! Artifacts whose time is over: removed from the object store by one worker at a time, now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use feature_store::{Chore, ChoreLock, Expired, Store, StoreError};
use metrics::counter;
use service_kit::{BoxError, Lifecycle, words};
use tokio::time::{MissedTickBehavior, interval};

use crate::steps::artifact_keys;
use crate::upstreams::{Objects, UpstreamError};

/// Steps that are read at once.
const BATCH: u32 = 200;
/// Shortest time between two sweeps.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a sweep works with.
pub(crate) struct Expiry {
    pub(crate) store: Store,
    pub(crate) objects: Objects,
    /// How long artifacts are kept that no step recorded.
    pub(crate) kept_for: Duration,
    pub(crate) every: Duration,
}

impl Expiry {
    /// Sweeps until the service stops.
    pub(crate) async fn run(self, lifecycle: Lifecycle) -> Result<(), BoxError> {
        counter!("artifacts_removed_total").absolute(0);
        tokio::select! {
            () = self.work() => {}
            // What is cut off between the store and its record is removed again.
            () = lifecycle.stopping() => {}
        }
        Ok(())
    }

    async fn work(&self) {
        let mut period = interval(self.every.max(SHORTEST));
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            match self.sweep().await {
                Ok(0) => {}
                Ok(features) => tracing::info!(features, "artifacts whose time is over are removed"),
                Err(error) => tracing::warn!(error = words(&error), "artifacts whose time is over could not be looked for"),
            }
        }
    }

    /// Removes what is there to be removed, unless another worker is at it; returns of how many steps.
    async fn sweep(&self) -> Result<u64, StoreError> {
        let Some(lock) = ChoreLock::try_acquire(self.store.pool(), Chore::Artifacts).await? else { return Ok(0) };
        let mut removed = 0;
        loop {
            let expired = self.store.expired_artifacts(self.kept_for, BATCH).await?;
            for step in &expired {
                if let Err(error) = self.remove(step).await {
                    // The next sweep begins with the same one.
                    tracing::warn!(feature = %step.feature, error = error.message, "artifacts were not removed");
                    return lock.release().await.map(|()| removed);
                }
                // After the store: what is recorded as removed is gone.
                self.store.forget_artifacts(step.step).await?;
                removed += 1;
            }
            if expired.len() < BATCH as usize {
                return lock.release().await.map(|()| removed);
            }
        }
    }

    async fn remove(&self, expired: &Expired) -> Result<(), UpstreamError> {
        let recorded = expired.artifacts.iter().map(|artifact| artifact.key.clone());
        let keys: BTreeSet<String> = recorded.chain(artifact_keys(expired.feature)).collect();
        for key in keys {
            self.objects.remove(&key).await?;
            counter!("artifacts_removed_total").increment(1);
        }
        Ok(())
    }
}
