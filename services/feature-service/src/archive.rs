//! Old features: moved to the archive by one process at a time, now and then.

use std::time::Duration;

use feature_store::{Chore, ChoreLock, Store, StoreError};
use metrics::counter;
use service_kit::{BoxError, Lifecycle, words};
use tokio::time::{MissedTickBehavior, interval};

/// Features that move in one statement.
const BATCH: u32 = 500;
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is old, and how often it is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) after: Duration,
    pub(crate) every: Duration,
}

/// Moves features that ended long ago to the archive, until the service stops.
pub(crate) async fn keep(store: Store, age: Age, lifecycle: Lifecycle) -> Result<(), BoxError> {
    counter!("features_archived_total").absolute(0);
    let work = async {
        let mut period = interval(age.every.max(SHORTEST));
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            match archive(&store, age.after).await {
                Ok(0) => {}
                Ok(features) => tracing::info!(features, "features that ended long ago are in the archive"),
                Err(error) => tracing::warn!(error = words(&error), "features were not archived"),
            }
        }
    };
    tokio::select! {
        () = work => {}
        // Each statement moves whole rows, whatever cuts it off.
        () = lifecycle.stopping() => {}
    }
    Ok(())
}

/// Moves all that is old, unless another process is at it; returns how many features.
async fn archive(store: &Store, after: Duration) -> Result<u64, StoreError> {
    let Some(lock) = ChoreLock::try_acquire(store.pool(), Chore::Archive).await? else { return Ok(0) };
    let mut all = 0;
    loop {
        let moved = store.archive(after, BATCH).await?;
        counter!("features_archived_total").increment(moved);
        all += moved;
        if moved < u64::from(BATCH) {
            return lock.release().await.map(|()| all);
        }
    }
}
