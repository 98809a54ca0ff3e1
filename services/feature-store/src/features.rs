//! Reading features.

use std::time::Duration;

use feature_api::feature::State;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use crate::error::StoreError;
use crate::events::{Trace, number, state_of};
use crate::keys::Instruction;
use crate::store::Store;

/// A feature as it is kept, without its instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its id.
    pub id: Uuid,
    /// How far it is.
    pub state: State,
    /// Why it failed.
    pub error: Option<String>,
    /// Branch of the change.
    pub branch: Option<String>,
    /// URL of the repository.
    pub repository_url: String,
    /// What was left in the object store and is still there: by the step `artifacts`, or by `verify` if that failed.
    pub artifacts: Vec<StoredArtifact>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// RFC 3339, UTC; set when it has ended.
    pub completed_at: Option<String>,
    /// Trace that it belongs to.
    pub trace: Trace,
}

/// A file in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredArtifact {
    /// Key in the bucket.
    pub key: String,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
}

/// Which features to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Only these states; all if empty.
    pub states: Vec<State>,
    /// At most this many.
    pub limit: u32,
    /// `next` of the page before.
    pub after: Option<(i64, Uuid)>,
}

/// Some features, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The features.
    pub features: Vec<Feature>,
    /// Where the next page begins, if there are more: microseconds of the last one's creation since 1970, and its id.
    pub next: Option<(i64, Uuid)>,
}

macro_rules! feature_columns {
    () => {
        "f.id, f.state, f.error, f.branch, f.repository_url, rfc3339(f.created_at) AS created_at, rfc3339(f.updated_at) AS updated_at, \
         rfc3339(f.completed_at) AS completed_at, f.traceparent, f.tracestate, \
         (extract(epoch FROM f.created_at) * 1000000)::int8 AS created_micros, \
         (SELECT s.output -> 'artifacts' FROM execution_steps s \
          WHERE s.feature_execution_id = f.id AND (s.step_type, s.outcome) IN (('artifacts', 'done'), ('verify', 'failed')) \
              AND s.artifacts_removed_at IS NULL \
          ORDER BY s.sequence DESC LIMIT 1) AS artifacts"
    };
}

const GET: &str = concat!(
    "SELECT ",
    feature_columns!(),
    " FROM (SELECT * FROM feature_executions WHERE id = $1 UNION ALL SELECT * FROM feature_executions_archive WHERE id = $1) f"
);

const LIST: &str = concat!(
    "SELECT ",
    feature_columns!(),
    " FROM feature_executions f
      WHERE (cardinality($1::smallint[]) = 0 OR f.state = ANY($1))
          AND ($2::int8 IS NULL OR (f.created_at, f.id) < ('epoch'::timestamptz + $2 * interval '1 microsecond', $3))
      ORDER BY f.created_at DESC, f.id DESC LIMIT $4"
);

const UNFINISHED: &str = "
    SELECT id FROM feature_executions WHERE state < 6 AND updated_at < now() - make_interval(secs => $1) ORDER BY updated_at LIMIT $2";

#[derive(FromRow)]
struct Row {
    id: Uuid,
    state: i16,
    error: Option<String>,
    branch: Option<String>,
    repository_url: String,
    created_at: String,
    updated_at: String,
    completed_at: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    created_micros: i64,
    artifacts: Option<Value>,
}

impl From<Row> for Feature {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            state: state_of(row.state),
            error: row.error,
            branch: row.branch,
            repository_url: row.repository_url,
            artifacts: row.artifacts.as_ref().map(artifacts_of).unwrap_or_default(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            completed_at: row.completed_at,
            trace: Trace { parent: row.traceparent, state: row.tracestate },
        }
    }
}

/// Reads `[{"key", "sha256"}]`; what has another form is left out.
pub(crate) fn artifacts_of(output: &Value) -> Vec<StoredArtifact> {
    let artifact = |value: &Value| {
        Some(StoredArtifact { key: value.get("key")?.as_str()?.to_owned(), sha256: value.get("sha256")?.as_str()?.to_owned() })
    };
    output.as_array().into_iter().flatten().filter_map(artifact).collect()
}

impl Store {
    /// Reads a feature, also from the archive.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; if the database can't be read.
    pub async fn get(&self, feature: Uuid) -> Result<Feature, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(GET).bind(feature).fetch_optional(&self.pool).await.map_err(StoreError::to("read a feature"))?;
        row.map(Feature::from).ok_or(StoreError::NotFound(feature))
    }

    /// Lists features, newest first; those in the archive are left out.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn list(&self, list: &List) -> Result<Page, StoreError> {
        let states: Vec<i16> = list.states.iter().map(|state| number(*state)).collect();
        let (micros, id) = list.after.unzip();
        let rows = sqlx::query_as(LIST).bind(states).bind(micros).bind(id).bind(i64::from(list.limit) + 1);
        let mut rows: Vec<Row> = rows.fetch_all(&self.pool).await.map_err(StoreError::to("list features"))?;
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| (row.created_micros, row.id));
        Ok(Page { features: rows.into_iter().map(Feature::from).collect(), next })
    }

    /// Decrypts a feature's instruction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Instruction`]; if the database can't be read.
    pub async fn instruction(&self, feature: Uuid) -> Result<Instruction, StoreError> {
        let read = sqlx::query_scalar("SELECT instruction_ciphertext FROM feature_executions WHERE id = $1");
        let read: Option<Vec<u8>> = read.bind(feature).fetch_optional(&self.pool).await.map_err(StoreError::to("read an instruction"))?;
        self.keys.open(feature, &read.ok_or(StoreError::NotFound(feature))?)
    }

    /// Lists features that have not ended and not moved for a while, the longest first.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn unfinished(&self, idle_for: Duration, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        let read = sqlx::query_scalar(UNFINISHED).bind(idle_for.as_secs_f64()).bind(i64::from(limit)).fetch_all(&self.pool).await;
        read.map_err(StoreError::to("list unfinished features"))
    }

    /// Counts features that have not ended and not moved for a while, by state.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn stuck(&self, idle_for: Duration) -> Result<Vec<(State, i64)>, StoreError> {
        let read = sqlx::query_as(
            "SELECT state, count(*) FROM feature_executions WHERE state < 6 AND updated_at < now() - make_interval(secs => $1) GROUP BY 1",
        );
        let counts: Vec<(i16, i64)> =
            read.bind(idle_for.as_secs_f64()).fetch_all(&self.pool).await.map_err(StoreError::to("count stuck features"))?;
        Ok(counts.into_iter().map(|(state, count)| (state_of(state), count)).collect())
    }
}
