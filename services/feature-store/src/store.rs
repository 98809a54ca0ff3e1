//! The store: a pool of connections and the keys.

use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgPool;

use crate::keys::Keys;

/// The features of one database; clones share connections and keys.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) keys: Arc<Keys>,
}

impl Store {
    /// Makes a store without connecting; the schema must be that of feature-service's migrations.
    pub fn new(pool: PgPool, keys: Keys) -> Self {
        Self { pool, keys: Arc::new(keys) }
    }

    /// Returns the pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.keys)
    }
}
