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

#[cfg(test)]
mod tests {
    use feature_store::{Creation, Instruction, Keys, New, Trace};
    use service_kit::variables::DATABASE_URL;
    use service_testing::Postgres;
    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::migrate::{self, Limits};

    const DAY: Duration = Duration::from_hours(24);

    #[tokio::test(flavor = "multi_thread")]
    async fn one_process_at_a_time_moves_what_is_old_enough() {
        let postgres = Postgres::start().unwrap();
        let limits = Limits { connect: Duration::from_secs(15), lock: Duration::from_secs(15) };
        migrate::run(&(DATABASE_URL.kind.parse)(&postgres.url()).unwrap(), &limits).await.unwrap();
        let pool = PgPoolOptions::new().connect(&postgres.url()).await.unwrap();
        let token = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let store = Store::new(pool.clone(), Keys::from_tokens(token, token).unwrap());
        let new = New {
            repository_url: "https://example.com/repo".to_owned(),
            instruction: Instruction::new("x"),
            idempotency_key: None,
            trace: Trace::default(),
        };
        let Creation::Created(feature) = store.create(new).await.unwrap() else { panic!("it is new") };
        store.cancel(feature).await.unwrap();
        postgres.query("UPDATE feature_executions SET completed_at = completed_at - interval '31 days'").unwrap();

        let other = ChoreLock::try_acquire(&pool, Chore::Archive).await.unwrap().unwrap();
        assert_eq!(archive(&store, 30 * DAY).await.unwrap(), 0, "another one is at it");
        other.release().await.unwrap();
        assert_eq!(archive(&store, 32 * DAY).await.unwrap(), 0, "it is not old enough");
        assert_eq!(archive(&store, 30 * DAY).await.unwrap(), 1);
        assert!(ChoreLock::try_acquire(&pool, Chore::Archive).await.unwrap().is_some(), "the right to it is given back");
    }
}
