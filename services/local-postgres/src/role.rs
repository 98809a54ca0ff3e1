//! The role and the database that clients use.

use service_kit::Secret;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Who logs in, and where.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) password: Secret<String>,
}

impl Role {
    /// Sees to it that role and database are there and the password is this one; connects as the superuser.
    ///
    /// # Errors
    /// If the server refuses; its words hold no password.
    pub(crate) async fn ensure(&self, superuser: &PgConnectOptions) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect_with(superuser).await?;
        // The server quotes what becomes part of a statement.
        let make_role = "SELECT format('CREATE ROLE %I', $1) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
        let set_password = "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1, $2)";
        let make_database =
            "SELECT format('CREATE DATABASE %I OWNER %I', $2, $1) WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $2)";
        for (text, second) in [(make_role, ""), (set_password, self.password.expose().as_str()), (make_database, self.database.as_str())] {
            let query = sqlx::query_scalar::<_, String>(text).bind(&self.name);
            let query = if second.is_empty() { query } else { query.bind(second) };
            if let Some(statement) = query.fetch_optional(&mut connection).await? {
                connection.execute(AssertSqlSafe(statement)).await?;
            }
        }
        connection.close().await
    }
}
