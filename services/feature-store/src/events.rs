//! Events: written in the transaction of what they tell of, read in their order.

use feature_api::feature::{Event, State};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::error::StoreError;
use crate::store::Store;

/// Channel of the database's notifications that tell of new events.
pub const CHANNEL: &str = "feature_events";

/// Columns of an event as [`Row`] has them.
macro_rules! event_columns {
    () => {
        "id, feature_execution_id, sequence, event_type, state, previous_state, step_type, error, rfc3339(created_at) AS created_at, \
         traceparent, tracestate, position"
    };
}
pub(crate) use event_columns;

/// The W3C trace context that a feature was created in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Header `traceparent`.
    pub parent: Option<String>,
    /// Header `tracestate`.
    pub state: Option<String>,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its UUID, as in the event.
    pub id: Uuid,
    /// UUID of its feature, as in the event.
    pub feature: Uuid,
    /// Place in the order of all features' events; with gaps.
    pub position: i64,
    /// Trace that the feature belongs to.
    pub trace: Trace,
    /// The event.
    pub event: Event,
}

impl StoredEvent {
    /// Returns the state after the event.
    pub fn state(&self) -> State {
        self.event.state()
    }
}

/// What is to be told; sequence and states come from what is there.
pub(crate) struct Told<'a> {
    pub(crate) event_type: &'static str,
    /// State before, if the event changes it.
    pub(crate) previous: Option<State>,
    pub(crate) state: State,
    pub(crate) step_type: Option<&'static str>,
    pub(crate) error: Option<&'a str>,
}

#[derive(FromRow)]
pub(crate) struct Row {
    id: Uuid,
    feature_execution_id: Uuid,
    sequence: i32,
    event_type: String,
    state: i16,
    previous_state: Option<i16>,
    step_type: Option<String>,
    error: Option<String>,
    created_at: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    position: i64,
}

impl From<Row> for StoredEvent {
    fn from(row: Row) -> Self {
        let event = Event {
            id: row.id.to_string(),
            feature_execution_id: row.feature_execution_id.to_string(),
            sequence: row.sequence,
            event_type: row.event_type,
            state: row.state.into(),
            previous_state: row.previous_state.map(i32::from),
            step_type: row.step_type,
            error: row.error,
            created_at: row.created_at,
        };
        let trace = Trace { parent: row.traceparent, state: row.tracestate };
        Self { id: row.id, feature: row.feature_execution_id, position: row.position, trace, event }
    }
}

pub(crate) fn stored(rows: Vec<Row>) -> Vec<StoredEvent> {
    rows.into_iter().map(StoredEvent::from).collect()
}

/// Returns a state as the database has it.
pub(crate) fn number(state: State) -> i16 {
    // The numbers are 0 to 8.
    i16::try_from(i32::from(state)).unwrap_or_default()
}

/// Returns a state from its number in the database, which holds no others.
pub(crate) fn state_of(number: i16) -> State {
    State::try_from(i32::from(number)).unwrap_or_default()
}

/// Adds an event to a feature whose row this transaction has locked; the next sequence is read after that lock.
pub(crate) async fn append(connection: &mut PgConnection, feature: Uuid, told: Told<'_>) -> Result<StoredEvent, StoreError> {
    let row: Row = sqlx::query_as(concat!(
        "INSERT INTO execution_events (id, feature_execution_id, sequence, event_type, state, previous_state, step_type, error, created_at, \
             traceparent, tracestate)
         SELECT gen_random_uuid(), f.id, (SELECT coalesce(max(sequence) + 1, 0) FROM execution_events WHERE feature_execution_id = f.id),
             $2, $3, $4, $5, $6, clock_timestamp(), f.traceparent, f.tracestate
         FROM feature_executions f WHERE f.id = $1
         RETURNING ",
        event_columns!()
    ))
    .bind(feature)
    .bind(told.event_type)
    .bind(number(told.state))
    .bind(told.previous.map(number))
    .bind(told.step_type)
    .bind(told.error)
    .fetch_one(connection)
    .await
    .map_err(StoreError::to("add an event"))?;
    Ok(row.into())
}

impl Store {
    /// Reads a feature's events from a sequence on, in their order; none if there is no such feature.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn events(&self, feature: Uuid, from: i32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query_as(concat!(
            "SELECT ",
            event_columns!(),
            " FROM execution_events WHERE feature_execution_id = $1 AND sequence >= $2 ORDER BY sequence"
        ));
        let rows = rows.bind(feature).bind(from).fetch_all(&self.pool).await;
        rows.map(stored).map_err(StoreError::to("read the events of a feature"))
    }

    /// Reads everybody's events after a position, and those at `missing` positions, in the order of positions.
    ///
    /// A transaction takes its positions before it ends: those of a later one may be seen earlier. Who follows all events remembers the
    /// positions that were left out and asks for them again.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn events_after(&self, position: i64, missing: &[i64], limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query_as(concat!(
            "SELECT ",
            event_columns!(),
            " FROM execution_events WHERE position > $1 OR position = ANY($2) ORDER BY position LIMIT $3"
        ));
        let rows = rows.bind(position).bind(missing).bind(i64::from(limit)).fetch_all(&self.pool).await;
        rows.map(stored).map_err(StoreError::to("read events"))
    }

    /// Returns the highest position of an event; 0 if there is none.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn last_position(&self) -> Result<i64, StoreError> {
        let read = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM execution_events").fetch_one(&self.pool).await;
        read.map_err(StoreError::to("read the last event's position"))
    }
}
