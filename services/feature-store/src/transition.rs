//! Transitions of a feature's state.

use std::time::Duration;

use feature_api::feature::State;
use sqlx::postgres::PgExecutor;
use uuid::Uuid;

use crate::error::StoreError;
use crate::events::{StoredEvent, Told, append, number, state_of};
use crate::failure::Failure;
use crate::store::Store;

/// Tells whether a feature in this state has ended.
pub fn is_final(state: State) -> bool {
    matches!(state, State::Completed | State::Failed | State::Cancelled)
}

/// A transition that is wished for: from the state that the feature was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    from: State,
    to: State,
    error: Option<String>,
    branch: Option<String>,
}

impl Move {
    /// One state forward; from a final state there is none.
    pub fn forward(from: State) -> Option<Self> {
        let to = match from {
            State::Pending => State::Analyzing,
            State::Analyzing => State::Planning,
            State::Planning => State::Executing,
            State::Executing => State::Verifying,
            State::Verifying => State::Completed,
            State::Unspecified | State::Completed | State::Failed | State::Cancelled => return None,
        };
        Some(Self { from, to, error: None, branch: None })
    }

    /// To FAILED, with the reason.
    pub fn failed(from: State, failure: &Failure) -> Self {
        Self { from, to: State::Failed, error: Some(failure.to_string()), branch: None }
    }

    fn cancelled(from: State) -> Self {
        Self { from, to: State::Cancelled, error: None, branch: None }
    }

    /// Adds the branch that holds the change.
    #[must_use]
    pub fn with_branch(self, branch: impl Into<String>) -> Self {
        Self { branch: Some(branch.into()), ..self }
    }

    /// Returns the state after it.
    pub fn to(&self) -> State {
        self.to
    }
}

/// What became of a transition that was wished for.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "returned by a query and matched at once, never kept")]
pub enum Transition {
    /// The feature is in the new state, and the event tells so.
    Moved {
        /// The event.
        event: StoredEvent,
        /// Time from the feature's creation, for metrics of its end.
        age: Duration,
    },
    /// Somebody was faster: the feature was in another state than expected.
    NotThere {
        /// The state that it is in.
        state: State,
    },
}

const UPDATE: &str = "
    UPDATE feature_executions SET state = $3, error = coalesce($4, error), branch = coalesce($5, branch), updated_at = now(),
        completed_at = CASE WHEN $3 >= 6 THEN now() END
    WHERE id = $1 AND state = $2
    RETURNING extract(epoch FROM clock_timestamp() - created_at)::float8";

/// A step that runs while its feature ends ends with it.
const END_STEPS: &str = "
    UPDATE execution_steps SET outcome = 'failed', error = 'the feature ended before the step', completed_at = now()
    WHERE feature_execution_id = $1 AND outcome = 'running'";

impl Store {
    /// Brings a feature into another state if it is in the expected one, and tells so by an event, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; if the database can't be written, or refuses the transition.
    pub async fn transition(&self, feature: Uuid, wanted: &Move) -> Result<Transition, StoreError> {
        const ACTION: &str = "change a feature's state";
        let mut transaction = self.pool.begin().await.map_err(StoreError::to(ACTION))?;
        let updated = sqlx::query_scalar(UPDATE).bind(feature).bind(number(wanted.from)).bind(number(wanted.to));
        let updated = updated.bind(&wanted.error).bind(&wanted.branch).fetch_optional(&mut *transaction).await;
        let Some(age) = updated.map_err(StoreError::to(ACTION))? else {
            return Ok(Transition::NotThere { state: state_on(&mut *transaction, feature).await? });
        };
        if is_final(wanted.to) {
            let ended = sqlx::query(END_STEPS).bind(feature).execute(&mut *transaction).await;
            ended.map_err(StoreError::to("end a feature's steps"))?;
        }
        let event_type = if wanted.to == State::Cancelled { "feature.cancelled" } else { "feature.state_changed" };
        let told = Told { event_type, previous: Some(wanted.from), state: wanted.to, step_type: None, error: wanted.error.as_deref() };
        let event = append(&mut transaction, feature, told).await?;
        transaction.commit().await.map_err(StoreError::to(ACTION))?;
        Ok(Transition::Moved { event, age: Duration::try_from_secs_f64(age).unwrap_or_default() })
    }

    /// Cancels a feature; one that has ended is left as it is, and its state returned in [`Transition::NotThere`].
    ///
    /// # Errors
    /// As [`Store::transition`].
    pub async fn cancel(&self, feature: Uuid) -> Result<Transition, StoreError> {
        let mut state = self.state(feature).await?;
        // Ends: a feature moves four times at most before it has ended.
        while !is_final(state) {
            match self.transition(feature, &Move::cancelled(state)).await? {
                Transition::NotThere { state: now } => state = now,
                moved => return Ok(moved),
            }
        }
        Ok(Transition::NotThere { state })
    }

    /// Returns the state that a feature is in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; if the database can't be read.
    pub async fn state(&self, feature: Uuid) -> Result<State, StoreError> {
        state_on(&self.pool, feature).await
    }
}

/// Reads a feature's state: inside of a transaction on its connection, since one that waits for a second connection may wait for itself.
pub(crate) async fn state_on(executor: impl PgExecutor<'_>, feature: Uuid) -> Result<State, StoreError> {
    let read = sqlx::query_scalar(
        "SELECT state FROM feature_executions WHERE id = $1 UNION ALL SELECT state FROM feature_executions_archive WHERE id = $1",
    );
    let state: Option<i16> = read.bind(feature).fetch_optional(executor).await.map_err(StoreError::to("read a feature's state"))?;
    state.map(state_of).ok_or(StoreError::NotFound(feature))
}
