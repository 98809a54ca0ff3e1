//! The archive of features that have ended.

use std::time::Duration;

use crate::error::StoreError;
use crate::store::Store;

/// One statement with one `now()`: a row is moved or it stays, whatever stops it. Steps and events stay where they are.
const MOVE: &str = "
    WITH old AS (
        SELECT id FROM feature_executions WHERE completed_at < now() - make_interval(secs => $1) AND state IN (6, 7, 8)
        ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), moved AS (
        DELETE FROM feature_executions f USING old WHERE f.id = old.id RETURNING f.*
    )
    INSERT INTO feature_executions_archive SELECT * FROM moved";

impl Store {
    /// Moves at most `batch` features that ended longer ago than `older_than` to the archive, oldest first; returns how many.
    ///
    /// # Errors
    /// If the database can't be written; then none is moved.
    pub async fn archive(&self, older_than: Duration, batch: u32) -> Result<u64, StoreError> {
        let moved = sqlx::query(MOVE).bind(older_than.as_secs_f64()).bind(i64::from(batch)).execute(&self.pool).await;
        moved.map(|moved| moved.rows_affected()).map_err(StoreError::to("archive features"))
    }
}
