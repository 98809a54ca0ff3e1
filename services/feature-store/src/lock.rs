//! Locks that end with their holder: advisory locks on connections of their own.

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::StoreError;

/// The right to work on one feature, held by a connection: it ends when this is dropped, and when the process dies.
#[derive(Debug)]
pub struct FeatureLock {
    connection: PgConnection,
}

impl FeatureLock {
    /// Takes the lock if nobody else has it.
    ///
    /// # Errors
    /// If there is no connection to be had.
    pub async fn try_acquire(pool: &PgPool, feature: Uuid) -> Result<Option<Self>, StoreError> {
        // The second half of an id is random; the first is mostly its time.
        let (_, key) = feature.as_u64_pair();
        let connection = try_lock(pool, key.cast_signed()).await?;
        Ok(connection.map(|connection| Self { connection }))
    }

    /// Tells whether the lock is still held: its connection answers.
    pub async fn is_held(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    /// Gives the lock back at once; when it is dropped instead, the server notices a moment later.
    ///
    /// # Errors
    /// If the connection broke before; then the lock is given back too.
    pub async fn release(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(StoreError::to("give a lock back"))
    }
}

/// Work that is done now and then, by one process at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Old features move to the archive.
    Archive,
    /// Artifacts whose time is over are removed.
    Artifacts,
}

/// The right to do a chore, held by a connection: it ends when this is dropped, and when the process dies.
#[derive(Debug)]
pub struct ChoreLock {
    connection: PgConnection,
}

impl ChoreLock {
    /// Takes the right if nobody else has it.
    ///
    /// # Errors
    /// If there is no connection to be had.
    pub async fn try_acquire(pool: &PgPool, chore: Chore) -> Result<Option<Self>, StoreError> {
        let key = match chore {
            Chore::Archive => b"featarch",
            Chore::Artifacts => b"featarti",
        };
        Ok(try_lock(pool, i64::from_be_bytes(*key)).await?.map(|connection| Self { connection }))
    }

    /// Gives the right back at once.
    ///
    /// # Errors
    /// If the connection broke before; then the right is given back too.
    pub async fn release(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(StoreError::to("give a chore back"))
    }
}

/// Returns a new connection that holds the session's advisory lock `key`; none if another one holds it.
pub(crate) async fn try_lock(pool: &PgPool, key: i64) -> Result<Option<PgConnection>, StoreError> {
    const ACTION: &str = "take a lock";
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await.map_err(StoreError::to(ACTION))?;
    let locked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(&mut connection).await;
    if locked.map_err(StoreError::to(ACTION))? {
        return Ok(Some(connection));
    }
    connection.close().await.map_err(StoreError::to(ACTION))?;
    Ok(None)
}
