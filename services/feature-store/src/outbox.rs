//! The outbox: events that the event bus has not acknowledged yet.

use std::collections::BTreeMap;

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::StoreError;
use crate::events::{StoredEvent, event_columns, stored};
use crate::lock::try_lock;

/// Key of the advisory lock, the bytes of "featpubl".
const LOCK_KEY: i64 = i64::from_be_bytes(*b"featpubl");

/// An event that the event bus has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The event.
    pub event: Uuid,
    /// Partition that it went to.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
}

/// The right to publish, which one process has at a time, and what there is to publish.
///
/// All of it goes over the connection that holds the lock: who has lost the lock can neither read nor mark.
#[derive(Debug)]
pub struct Outbox {
    connection: PgConnection,
}

const MARK: &str = "
    UPDATE execution_events SET published_at = now() WHERE id = ANY($1)";

const RAISE: &str = "
    INSERT INTO outbox_offsets (partition, highest) SELECT * FROM unnest($1::int4[], $2::int8[])
    ON CONFLICT (partition) DO UPDATE SET highest = greatest(outbox_offsets.highest, excluded.highest)";

const UNMARK: &str = "
    UPDATE execution_events e SET published_at = NULL FROM feature_executions f
    WHERE e.feature_execution_id = f.id AND f.state < 6 AND e.published_at IS NOT NULL";

impl Outbox {
    /// Becomes the one that publishes if nobody else is.
    ///
    /// # Errors
    /// If there is no connection to be had.
    pub async fn try_lead(pool: &PgPool) -> Result<Option<Self>, StoreError> {
        Ok(try_lock(pool, LOCK_KEY).await?.map(|connection| Self { connection }))
    }

    /// Reads unpublished events: each feature's in its order.
    ///
    /// # Errors
    /// If the database can't be read; the lock may be lost then.
    pub async fn unpublished(&mut self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query_as(concat!(
            "SELECT ",
            event_columns!(),
            " FROM execution_events WHERE published_at IS NULL ORDER BY position LIMIT $1"
        ));
        let rows = rows.bind(i64::from(limit)).fetch_all(&mut self.connection).await;
        rows.map(stored).map_err(StoreError::to("read the outbox"))
    }

    /// Records that the event bus has taken events, and how far it has come with each partition.
    ///
    /// # Errors
    /// If the database can't be written; the lock may be lost then.
    pub async fn mark_published(&mut self, acknowledged: &[Acknowledged]) -> Result<(), StoreError> {
        const ACTION: &str = "mark events as published";
        let mut highest = BTreeMap::new();
        for &Acknowledged { partition, offset, .. } in acknowledged {
            let known = highest.entry(partition).or_insert(offset);
            *known = offset.max(*known);
        }
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = highest.into_iter().unzip();
        let events: Vec<Uuid> = acknowledged.iter().map(|acknowledged| acknowledged.event).collect();
        let mut transaction = self.connection.begin().await.map_err(StoreError::to(ACTION))?;
        sqlx::query(MARK).bind(events).execute(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        sqlx::query(RAISE).bind(partitions).bind(offsets).execute(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        transaction.commit().await.map_err(StoreError::to(ACTION))
    }

    /// Returns the highest offset that was acknowledged in each partition.
    ///
    /// # Errors
    /// If the database can't be read; the lock may be lost then.
    pub async fn highest_offsets(&mut self) -> Result<BTreeMap<i32, i64>, StoreError> {
        let rows = sqlx::query_as("SELECT partition, highest FROM outbox_offsets").fetch_all(&mut self.connection).await;
        let rows: Vec<(i32, i64)> = rows.map_err(StoreError::to("read the outbox's offsets"))?;
        Ok(rows.into_iter().collect())
    }

    /// Puts every event of the features that have not ended into the outbox again, and forgets the offsets: the bus has lost its log.
    ///
    /// Returns how many events that are.
    ///
    /// # Errors
    /// If the database can't be written; the lock may be lost then.
    pub async fn republish_unfinished(&mut self) -> Result<u64, StoreError> {
        const ACTION: &str = "put events into the outbox again";
        let mut transaction = self.connection.begin().await.map_err(StoreError::to(ACTION))?;
        sqlx::query("DELETE FROM outbox_offsets").execute(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        let unmarked = sqlx::query(UNMARK).execute(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        transaction.commit().await.map_err(StoreError::to(ACTION))?;
        Ok(unmarked.rows_affected())
    }

    /// Gives the right back.
    ///
    /// # Errors
    /// If the connection broke before; then the right is given back too.
    pub async fn release(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(StoreError::to("give the outbox back"))
    }
}
