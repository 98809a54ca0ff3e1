//! The PostgreSQL database of a service.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::health::Check;

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection stays open that nobody needs: each is a process of the server.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the readiness check waits for an answer: below a check's own limit, so that its words are the ones shown.
const CHECK_TIMEOUT: Duration = Duration::from_millis(700);

/// Where the database is and who logs in; `Debug` and `Display` show the place only.
#[derive(Clone, Default)]
pub struct DatabaseUrl(PgConnectOptions);

impl DatabaseUrl {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
        // The parser's error is dropped: it may quote the URL.
        known.then(|| PgConnectOptions::from_str(text).ok()).flatten().map(Self)
    }

    /// Returns the options for an own connection that shows up in the server under `application`.
    pub fn connect_options(&self, application: &str) -> PgConnectOptions {
        self.0.clone().application_name(application)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", self.0.get_host(), self.0.get_port())?,
        }
        write!(f, "/{}", self.0.get_database().unwrap_or_else(|| self.0.get_username()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// A pool of connections to the service's database.
#[derive(Clone, Debug)]
pub struct Database {
    url: DatabaseUrl,
    pool: PgPool,
}

impl Database {
    /// Makes a pool without connecting: a service starts, and says that it is not ready, while its database is down.
    pub fn new(url: DatabaseUrl, pool_size: u32, application: &str) -> Self {
        let options = PgPoolOptions::new().max_connections(pool_size).acquire_timeout(ACQUIRE_TIMEOUT).idle_timeout(IDLE_TIMEOUT);
        let pool = options.connect_lazy_with(url.connect_options(application));
        Self { url, pool }
    }

    /// Returns the pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Makes a check that the database answers a query.
    pub fn check(&self) -> Check {
        let database = self.clone();
        Check::new("postgresql", move || {
            let database = database.clone();
            async move { database.answers().await }
        })
    }

    async fn answers(&self) -> Result<(), String> {
        let query = sqlx::query("SELECT 1").execute(&self.pool);
        match tokio::time::timeout(CHECK_TIMEOUT, query).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{}: {}", self.url, cause(&error))),
            Err(_) => Err(format!("{}: no connection within {} ms", self.url, CHECK_TIMEOUT.as_millis())),
        }
    }
}

/// Says in words that hold no secret why a query failed.
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => format!("connection lost ({})", error.kind()),
        sqlx::Error::Tls(_) => "the TLS connection failed".to_owned(),
        sqlx::Error::PoolTimedOut => "no free connection".to_owned(),
        _ => "the query failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_its_place_and_nothing_else() {
        for (text, expected) in [
            ("postgres://feature:canary-7fd1@db.example.com:6432/feature", "db.example.com:6432/feature"),
            ("postgresql://feature:canary-7fd1@%2Frun%2Fpostgresql/x", "/run/postgresql/x"),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), expected);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({expected})"));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for text in ["", "feature", "mysql://u:p@h/d", "postgres://u:p@h:port/d", "postgres:/x"] {
            assert!(DatabaseUrl::parse(text).is_none(), "{text:?}");
        }
    }
}
