//! Artifacts whose time is over.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::error::StoreError;
use crate::features::{StoredArtifact, artifacts_of};
use crate::store::Store;

/// A step whose artifacts are to be removed from the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The step.
    pub step: Uuid,
    /// Its feature, which has ended.
    pub feature: Uuid,
    /// What it recorded to have left; one that was cut off left more than it recorded.
    pub artifacts: Vec<StoredArtifact>,
}

/// The first condition is that of an index. What was recorded says when its time is over; what was not is as old as its step.
const EXPIRED: &str = "
    SELECT s.id, s.feature_execution_id, s.output -> 'artifacts' FROM execution_steps s
    WHERE (s.step_type = 'artifacts' OR s.step_type = 'verify' AND s.outcome = 'failed') AND s.artifacts_removed_at IS NULL
        AND coalesce((s.output ->> 'expires_at')::float8, extract(epoch FROM s.started_at)::float8 + $1) < extract(epoch FROM now())
        AND NOT EXISTS (SELECT FROM feature_executions f WHERE f.id = s.feature_execution_id AND f.state < 6)
    ORDER BY s.started_at LIMIT $2";

impl Store {
    /// Reads steps of features that have ended whose artifacts' time is over, oldest first; `kept_for` counts where a step recorded none.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn expired_artifacts(&self, kept_for: Duration, limit: u32) -> Result<Vec<Expired>, StoreError> {
        let rows = sqlx::query_as(EXPIRED).bind(kept_for.as_secs_f64()).bind(i64::from(limit)).fetch_all(&self.pool).await;
        let rows: Vec<(Uuid, Uuid, Option<Value>)> = rows.map_err(StoreError::to("look for artifacts whose time is over"))?;
        let expired = |(step, feature, output): (_, _, Option<Value>)| Expired {
            step,
            feature,
            artifacts: output.as_ref().map(artifacts_of).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(expired).collect())
    }

    /// Records that a step's artifacts are not in the object store any more.
    ///
    /// # Errors
    /// If the database can't be written.
    pub async fn forget_artifacts(&self, step: Uuid) -> Result<(), StoreError> {
        let forgotten = sqlx::query("UPDATE execution_steps SET artifacts_removed_at = now() WHERE id = $1").bind(step);
        forgotten.execute(&self.pool).await.map(drop).map_err(StoreError::to("record that artifacts are removed"))
    }
}
