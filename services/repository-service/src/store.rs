//! The table of repositories; each function is one statement, so that none needs a transaction.

use feature_api::repository::Repository;
use service_kit::rpc::{Code, RpcError};
use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};

use crate::request::Change;

/// The columns in the form that messages have.
macro_rules! columns {
    () => {
        "id::text, url, credential, default_branch, head, \
         to_char(head_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS head_seen_at, \
         to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS created_at"
    };
}

const TABLE: &str = "SELECT to_regclass('repositories') IS NOT NULL";
const FIND: &str = concat!("SELECT ", columns!(), " FROM repositories WHERE url = $1");
/// Changes nothing in a row that somebody else made meanwhile, but returns it.
const MAKE: &str =
    concat!("INSERT INTO repositories (url) VALUES ($1) ON CONFLICT (url) DO UPDATE SET url = EXCLUDED.url RETURNING ", columns!());
/// `$2` and `$4` tell whether the values after them are said. The head is that of the default branch: it goes when that changes.
const REGISTER: &str = concat!(
    "INSERT INTO repositories AS known (url, credential, default_branch) VALUES ($1, $3, $5) ON CONFLICT (url) DO UPDATE SET \
     credential = CASE WHEN $2 THEN $3 ELSE known.credential END, \
     default_branch = CASE WHEN $4 THEN $5 ELSE known.default_branch END, \
     head = CASE WHEN $4 AND $5 IS DISTINCT FROM known.default_branch THEN NULL ELSE known.head END, \
     head_seen_at = CASE WHEN $4 AND $5 IS DISTINCT FROM known.default_branch THEN NULL ELSE known.head_seen_at END \
     RETURNING ",
    columns!()
);
const LIST: &str = concat!("SELECT ", columns!(), " FROM repositories WHERE url > $1 ORDER BY url LIMIT $2");
/// `now()` is when the statement began: of two at once, the one that began later wins, whichever gets the row first.
const RECORD_HEAD: &str = "UPDATE repositories SET default_branch = $2, head = $3, head_seen_at = now() \
     WHERE url = $1 AND coalesce(default_branch, $2) = $2 AND coalesce(head_seen_at <= now(), true)";
const REMOVE: &str = "DELETE FROM repositories WHERE url = $1";

/// Checks that the table is there; the cause of a failure holds no secrets.
pub(crate) async fn table_is_there(pool: &PgPool) -> Result<(), String> {
    match sqlx::query_scalar(TABLE).fetch_one(pool).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("table `repositories` is not there; run feature-service --migrate".to_owned()),
        Err(sqlx::Error::Database(error)) => Err(error.message().to_owned()),
        Err(_) => Err("the schema could not be read".to_owned()),
    }
}

/// Returns a repository; makes it, without a credential, if it is not known.
///
/// # Errors
/// If the database fails.
pub(crate) async fn resolve(pool: &PgPool, url: &str) -> Result<Repository, RpcError> {
    // Nearly always it is known: reading first keeps that from writing.
    if let Some(known) = find(pool, url).await? {
        return Ok(known);
    }
    let row = sqlx::query(MAKE).bind(url).fetch_one(pool).await;
    row.map(|row| read(&row)).map_err(|error| failed("failed to make a repository known", &error))
}

/// Makes a repository known, or changes what is known of it.
///
/// # Errors
/// If the database fails.
pub(crate) async fn register(pool: &PgPool, url: &str, credential: Change, default_branch: Change) -> Result<Repository, RpcError> {
    let said = |change: Change| match change {
        Change::Keep => (false, None),
        Change::Set(value) => (true, value),
    };
    let ((says_credential, credential), (says_branch, branch)) = (said(credential), said(default_branch));
    let query = sqlx::query(REGISTER).bind(url).bind(says_credential).bind(credential).bind(says_branch).bind(branch);
    query.fetch_one(pool).await.map(|row| read(&row)).map_err(|error| failed("failed to register a repository", &error))
}

/// Returns up to `limit` repositories after a URL, and the URL to go on after if there are more.
///
/// # Errors
/// If the database fails.
pub(crate) async fn list(pool: &PgPool, after: &str, limit: u32) -> Result<(Vec<Repository>, Option<String>), RpcError> {
    let rows = sqlx::query(LIST).bind(after).bind(i64::from(limit) + 1).fetch_all(pool).await;
    let rows = rows.map_err(|error| failed("failed to list repositories", &error))?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let repositories: Vec<Repository> = rows.iter().take(most).map(read).collect();
    let next = repositories.last().filter(|_| rows.len() > most).map(|last| last.url.clone());
    Ok((repositories, next))
}

/// Notes where a branch is, unless it is not the default branch or was seen later already; none if the repository is not known.
///
/// # Errors
/// If the database fails.
pub(crate) async fn record_head(pool: &PgPool, url: &str, branch: &str, head: &str) -> Result<Option<Repository>, RpcError> {
    let updated = sqlx::query(RECORD_HEAD).bind(url).bind(branch).bind(head).execute(pool).await;
    updated.map_err(|error| failed("failed to record a head", &error))?;
    find(pool, url).await
}

/// Forgets a repository.
///
/// # Errors
/// If the database fails.
pub(crate) async fn remove(pool: &PgPool, url: &str) -> Result<(), RpcError> {
    let removed = sqlx::query(REMOVE).bind(url).execute(pool).await;
    removed.map(drop).map_err(|error| failed("failed to remove a repository", &error))
}

async fn find(pool: &PgPool, url: &str) -> Result<Option<Repository>, RpcError> {
    let row = sqlx::query(FIND).bind(url).fetch_optional(pool).await;
    row.map(|row| row.as_ref().map(read)).map_err(|error| failed("failed to look a repository up", &error))
}

fn read(row: &PgRow) -> Repository {
    Repository {
        id: row.get("id"),
        url: row.get("url"),
        credential: row.get("credential"),
        default_branch: row.get("default_branch"),
        head: row.get("head"),
        head_seen_at: row.get("head_seen_at"),
        created_at: row.get("created_at"),
    }
}

/// Tells a database that is away for a while (SQLSTATE 08, 53, 57P) from one that refuses what we say.
fn failed(what: &'static str, error: &sqlx::Error) -> RpcError {
    let may_pass = match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class))),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        _ => false,
    };
    if !may_pass {
        return RpcError::internal(what, error);
    }
    tracing::warn!(error = service_kit::words(error), "{what}");
    RpcError::new(Code::Unavailable, format!("{what}: the database does not answer"))
}
