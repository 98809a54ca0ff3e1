//! The service's own database schema: which migrations there are, which are applied, and applying the rest.
//!
//! One run at a time, guarded by an advisory lock that is tried again and again: a session that waits inside
//! `pg_advisory_lock` would hold a snapshot that blocks `CREATE INDEX CONCURRENTLY`, and could not be told to give up.

use std::time::Duration;

use service_kit::DatabaseUrl;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{ConnectOptions, Connection, Row};
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// Key of the advisory lock, the bytes of "featmigr".
const LOCK_KEY: i64 = i64::from_be_bytes(*b"featmigr");
const POLL: Duration = Duration::from_millis(200);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
const APPLICATION: &str = "feature-service --migrate";

/// How long a run waits.
pub(crate) struct Limits {
    /// For the database to answer.
    pub(crate) connect: Duration,
    /// For another run to end.
    pub(crate) lock: Duration,
}

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// All migrations, oldest first; an applied one must never change.
///
/// From 100 on they belong to repository-service, whose table lives in the same database.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "feature_executions", sql: include_str!("../migrations/0001_feature_executions.sql") },
    Migration { version: 2, name: "steps_and_events", sql: include_str!("../migrations/0002_steps_and_events.sql") },
    Migration { version: 3, name: "order_of_events", sql: include_str!("../migrations/0003_order_of_events.sql") },
    Migration { version: 4, name: "artifact_removal", sql: include_str!("../migrations/0004_artifact_removal.sql") },
    Migration { version: 100, name: "repositories", sql: include_str!("../migrations/0100_repositories.sql") },
];

/// Creating the table itself is safe to repeat, but not to do twice at the same moment: it needs the lock.
const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version bigint PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";
const READ_HISTORY: &str = "SELECT version, checksum FROM schema_migrations ORDER BY version";
const RECORD: &str = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)";
/// A migration gives up rather than queue behind a long transaction and block everyone after it.
const SET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

/// Why the schema could not be brought up to date.
#[derive(Debug, Error)]
pub(crate) enum MigrateError {
    #[error("database {database} did not let us in; waited {} s", waited.as_secs())]
    Connect {
        database: String,
        waited: Duration,
        #[source]
        source: sqlx::Error,
    },
    #[error("another migration holds the lock since more than {} s (see pg_locks, locktype advisory)", .0.as_secs())]
    Locked(Duration),
    #[error("failed to {0}")]
    History(&'static str, #[source] sqlx::Error),
    #[error("migration {version} ({name}) failed and left nothing behind")]
    Apply {
        version: i64,
        name: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("migration {version} ({name}) was applied with other content: checksum {applied}, this program has {own}")]
    Changed { version: i64, name: &'static str, applied: String, own: String },
}

/// Applies every migration that is not applied yet, each in its own transaction; a repeat does nothing.
///
/// Versions that this program does not know are left alone: an older program may run after a newer one when a release is undone.
pub(crate) async fn run(database: &DatabaseUrl, limits: &Limits) -> Result<(), MigrateError> {
    // A connection of its own: a session's lock must not wander through a pool.
    let mut connection = connect(database, limits.connect).await?;
    lock(&mut connection, limits.lock).await?;
    let result = apply_missing(&mut connection).await;
    // Closing the session gives the lock back, whatever happened before.
    let closed = connection.close().await;
    let applied = result?;
    closed.map_err(|source| MigrateError::History("give the lock back", source))?;
    tracing::info!(applied, known = MIGRATIONS.len(), "the schema is up to date");
    Ok(())
}

/// Checks that every migration of this program is applied; the cause of a failure holds no secrets.
pub(crate) async fn is_current(pool: &PgPool) -> Result<(), String> {
    let rows = sqlx::query(READ_HISTORY).fetch_all(pool).await.map_err(|error| match error {
        sqlx::Error::Database(error) if error.code().as_deref() == Some("42P01") => "no migration is applied; run --migrate".to_owned(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        _ => "the schema could not be read".to_owned(),
    })?;
    let applied: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    match missing(&applied) {
        Ok(missing) if missing.is_empty() => Ok(()),
        Ok(missing) => Err(format!("{} of {} migrations are not applied; run --migrate", missing.len(), MIGRATIONS.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// Connects, again and again while the database is starting or not there yet.
async fn connect(database: &DatabaseUrl, limit: Duration) -> Result<PgConnection, MigrateError> {
    let options = database.connect_options(APPLICATION).disable_statement_logging();
    let started = Instant::now();
    loop {
        let attempt = tokio::time::timeout(ATTEMPT, options.connect()).await;
        let error = match attempt {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        let waited = started.elapsed();
        if waited >= limit || !may_pass(&error) {
            return Err(MigrateError::Connect { database: database.to_string(), waited, source: error });
        }
        tracing::info!(%database, "waiting for the database");
        sleep(POLL).await;
    }
}

/// Tells whether the same attempt may succeed later: the server starts, stops or is out of connections (SQLSTATE 57P, 53).
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53")),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        _ => false,
    }
}

async fn lock(connection: &mut PgConnection, limit: Duration) -> Result<(), MigrateError> {
    let deadline = Instant::now() + limit;
    let mut told = false;
    loop {
        let tried = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK_KEY).fetch_one(&mut *connection).await;
        if tried.map_err(|source| MigrateError::History("take the lock", source))? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(MigrateError::Locked(limit));
        }
        if !told {
            tracing::info!("waiting for another migration to end");
            told = true;
        }
        sleep(POLL).await;
    }
}

async fn apply_missing(connection: &mut PgConnection) -> Result<usize, MigrateError> {
    let created = sqlx::query(CREATE_HISTORY).execute(&mut *connection).await;
    created.map_err(|source| MigrateError::History("create the table of applied migrations", source))?;
    let rows = sqlx::query(READ_HISTORY).fetch_all(&mut *connection).await;
    let rows = rows.map_err(|source| MigrateError::History("read the table of applied migrations", source))?;
    let applied: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let missing = missing(&applied)?;
    for migration in &missing {
        let Migration { version, name, .. } = migration;
        let started = Instant::now();
        let result = apply(connection, migration).await;
        result.map_err(|source| MigrateError::Apply { version: *version, name, source })?;
        tracing::info!(version, name, seconds = started.elapsed().as_secs_f64(), "migration applied");
    }
    Ok(missing.len())
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query(SET_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    sqlx::raw_sql(migration.sql).execute(&mut *transaction).await?;
    let record = sqlx::query(RECORD).bind(migration.version).bind(migration.name).bind(checksum(migration.sql));
    record.execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Returns the migrations that are not in `applied`, oldest first; one that was applied with other content is an error.
fn missing(applied: &[(i64, String)]) -> Result<Vec<&'static Migration>, MigrateError> {
    let mut missing = Vec::new();
    for migration in MIGRATIONS {
        let own = checksum(migration.sql);
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => missing.push(migration),
            Some((_, applied)) if *applied == own => {}
            Some((version, applied)) => {
                return Err(MigrateError::Changed { version: *version, name: migration.name, applied: applied.clone(), own });
            }
        }
    }
    Ok(missing)
}

fn checksum(sql: &str) -> String {
    hex::encode(Sha256::digest(sql.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(versions: &[i64]) -> Vec<(i64, String)> {
        let checksum =
            |version: &i64| MIGRATIONS.iter().find(|known| known.version == *version).map_or_else(String::new, |m| checksum(m.sql));
        versions.iter().map(|version| (*version, checksum(version))).collect()
    }

    fn missing_versions(applied: &[(i64, String)]) -> Vec<i64> {
        missing(applied).unwrap().iter().map(|migration| migration.version).collect()
    }

    #[test]
    fn what_is_not_applied_is_missing_in_order() {
        for (versions, expected) in [
            (&[][..], &[1, 2, 3, 4, 100][..]),
            (&[1], &[2, 3, 4, 100]),
            (&[2, 3, 4, 100], &[1]),
            (&[1, 2, 3, 100], &[4]),
            (&[1, 2, 3, 4, 100], &[]),
            (&[1, 2, 3, 4, 99, 100], &[]),
        ] {
            assert_eq!(missing_versions(&applied(versions)), expected, "applied {versions:?}");
        }
    }

    #[test]
    fn changed_content_is_refused() {
        let error = missing(&[(1, "0".repeat(64))]).err().unwrap();
        assert!(error.to_string().contains("migration 1 (feature_executions) was applied with other content"), "{error}");
    }

    #[test]
    fn files_and_versions_agree() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let names: Vec<String> = MIGRATIONS.iter().map(|migration| format!("{:04}_{}.sql", migration.version, migration.name)).collect();
        assert_eq!(files, names);
    }
}
