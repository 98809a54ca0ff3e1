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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use feature_store::{Creation, Instruction, Keys, New, StepType, Trace};
    use service_kit::Secret;
    use service_kit::variables::UPSTREAM;
    use service_testing::Postgres;
    use sqlx::postgres::PgPoolOptions;
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstreams::StoreAddress;

    /// Returns a bucket from which all can be removed.
    async fn objects() -> Objects {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = (UPSTREAM.parse)(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let routes = Router::new().fallback(|| async { StatusCode::NO_CONTENT });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let key = || Secret::new("key".to_owned());
        let (region, bucket) = ("local".to_owned(), "artifacts".to_owned());
        Objects::new(&StoreAddress { endpoint, region, bucket, access_key: key(), secret_key: key() })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_worker_at_a_time_removes_artifacts() {
        let postgres = Postgres::start().unwrap();
        let pool = PgPoolOptions::new().connect(&postgres.url()).await.unwrap();
        sqlx::migrate!("../feature-service/migrations").run(&pool).await.unwrap();
        let token = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let store = Store::new(pool.clone(), Keys::from_tokens(token, token).unwrap());
        let new = New {
            repository_url: "https://example.com/repo".to_owned(),
            instruction: Instruction::new("x"),
            idempotency_key: None,
            trace: Trace::default(),
        };
        let Creation::Created(feature) = store.create(new).await.unwrap() else { panic!("it is new") };
        store.begin_step(feature, StepType::Artifacts).await.unwrap();
        store.cancel(feature).await.unwrap();

        let expiry = Expiry { store, objects: objects().await, kept_for: Duration::ZERO, every: SHORTEST };
        let other = ChoreLock::try_acquire(&pool, Chore::Artifacts).await.unwrap().unwrap();
        assert_eq!(expiry.sweep().await.unwrap(), 0, "another one is at it");
        other.release().await.unwrap();
        assert_eq!(expiry.sweep().await.unwrap(), 1);
        assert_eq!(expiry.sweep().await.unwrap(), 0, "it is recorded as removed");
    }
}
