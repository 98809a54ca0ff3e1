//! The sweep: features that have not ended and not moved for a while are driven without an event.
//!
//! It is what helps when the bus lost a record, or a worker died with one; in good times it finds nothing.

use std::sync::Arc;
use std::time::Duration;

use feature_store::Store;
use service_kit::words;
use tokio_util::task::TaskTracker;

use crate::drive::Driver;
use crate::upstreams::Upstreams;

/// Most features of one sweep; the rest is found by the next.
const MOST: u32 = 50;
/// Shortest time between two sweeps.
const SHORTEST: Duration = Duration::from_millis(500);

/// Sweeps twice in each `idle` time until the process begins to end; then waits for what it began.
pub(crate) async fn sweep<U: Upstreams>(driver: Arc<Driver<Store, U>>, store: Store, idle: Duration) {
    let tasks = TaskTracker::new();
    let stop = driver.stop().begin_nothing.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep((idle / 2).max(SHORTEST)) => {}
            () = stop.cancelled() => break,
        }
        let unfinished = match store.unfinished(idle, MOST).await {
            Ok(unfinished) => unfinished,
            Err(error) => {
                tracing::warn!(error = words(&error), "the sweep could not look for features");
                continue;
            }
        };
        for feature in unfinished {
            if driver.is_at(feature) {
                continue;
            }
            // No room means enough work without the sweep.
            let Ok(slot) = Arc::clone(&driver.slots).try_acquire_owned() else { break };
            let driver = Arc::clone(&driver);
            tasks.spawn(async move {
                match driver.advance(feature, None).await {
                    Ok(advance) => tracing::debug!(%feature, became = ?advance.became, "swept"),
                    Err(error) => tracing::warn!(%feature, error = words(&error), "a swept feature could not be driven"),
                }
                drop(slot);
            });
        }
    }
    tasks.close();
    tasks.wait().await;
}
