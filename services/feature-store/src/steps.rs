//! Steps: recorded before they begin and after they end, so that a repeat finds what was done.

use feature_api::feature::State;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::error::StoreError;
use crate::events::{StoredEvent, Told, append, state_of};
use crate::failure::Failure;
use crate::store::Store;
use crate::transition::state_on;

/// Namespace of the steps' ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_53f2_7f0d_4d0e_9c55_2a0f_51a7_be11);

/// A type of step; a feature has each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepType {
    /// The repository is looked at.
    Look,
    /// The change is planned.
    Plan,
    /// The change is made, as a patch.
    Patch,
    /// The change is pushed.
    Push,
    /// The change is verified.
    Verify,
    /// Artifacts are stored.
    Artifacts,
}

impl StepType {
    /// Returns its name in the database, in events and in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Plan => "plan",
            Self::Patch => "patch",
            Self::Push => "push",
            Self::Verify => "verify",
            Self::Artifacts => "artifacts",
        }
    }
}

/// Returns the id of a feature's step: the same whenever it is asked for.
pub fn step_id(feature: Uuid, step_type: StepType) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{feature}/{}", step_type.name()).as_bytes())
}

/// A step that has begun, or was done before.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRun {
    /// The step's id, for effects that must not happen twice.
    pub step_id: Uuid,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the first attempt began: RFC 3339, UTC; the same in every attempt.
    pub started_at: String,
    /// What it came to, if it is done; then there is nothing to do.
    pub output: Option<Value>,
}

/// A step as it is kept.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Step {
    /// The step's id.
    pub id: Uuid,
    /// Place in the order, from 0.
    pub sequence: i32,
    /// Name of its type.
    pub step_type: String,
    /// `running`, `done` or `failed`.
    pub outcome: String,
    /// How often it was begun.
    pub attempts: i32,
    /// What it came to, if it is done; what it left all the same, if it failed.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// RFC 3339, UTC.
    pub started_at: Option<String>,
    /// RFC 3339, UTC.
    pub completed_at: Option<String>,
}

/// A step that failed before keeps its place and its first time.
const BEGIN: &str = "
    INSERT INTO execution_steps (id, feature_execution_id, sequence, step_type, state, outcome, attempts, started_at)
    VALUES ($2, $1, (SELECT count(*) FROM execution_steps WHERE feature_execution_id = $1), $3, $4, 'running', 1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET attempts = execution_steps.attempts + 1, outcome = 'running', output = NULL, error = NULL, completed_at = NULL
    RETURNING attempts, rfc3339(started_at) AS started_at";

const DONE: &str = "
    SELECT attempts, rfc3339(started_at) AS started_at, output FROM execution_steps WHERE id = $1 AND outcome = 'done'";

const END: &str = "
    UPDATE execution_steps SET outcome = $2, output = $3, error = $4, completed_at = clock_timestamp() WHERE id = $1 AND outcome = 'running'";

const LIST: &str = "
    SELECT id, sequence, step_type, outcome, attempts, output, error, rfc3339(started_at) AS started_at, rfc3339(completed_at) AS completed_at
    FROM execution_steps WHERE feature_execution_id = $1 ORDER BY sequence";

/// How a step ended.
enum End<'a> {
    Done(&'a Value),
    Failed(String, Option<&'a Value>),
}

impl Store {
    /// Begins a step, or returns what it came to if it is done; a step that is begun has its event.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ended`]; if the database can't be written.
    pub async fn begin_step(&self, feature: Uuid, step_type: StepType) -> Result<StepRun, StoreError> {
        const ACTION: &str = "begin a step";
        let step_id = step_id(feature, step_type);
        let mut transaction = self.pool.begin().await.map_err(StoreError::to(ACTION))?;
        let state = lock_running(&mut transaction, feature).await?;
        let done = sqlx::query_as(DONE).bind(step_id).fetch_optional(&mut *transaction).await;
        let done: Option<(i32, String, Value)> = done.map_err(StoreError::to(ACTION))?;
        if let Some((attempts, started_at, output)) = done {
            return Ok(StepRun { step_id, attempt: attempts.unsigned_abs(), started_at, output: Some(output) });
        }
        let begun = sqlx::query_as(BEGIN).bind(feature).bind(step_id).bind(step_type.name()).bind(crate::events::number(state));
        let (attempts, started_at): (i32, String) = begun.fetch_one(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        let told = Told { event_type: "step.started", previous: None, state, step_type: Some(step_type.name()), error: None };
        append(&mut transaction, feature, told).await?;
        transaction.commit().await.map_err(StoreError::to(ACTION))?;
        Ok(StepRun { step_id, attempt: attempts.unsigned_abs(), started_at, output: None })
    }

    /// Records what a step came to.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ended`], [`StoreError::NotRunning`]; if the database can't be written.
    pub async fn finish_step(&self, feature: Uuid, step_type: StepType, output: &Value) -> Result<StoredEvent, StoreError> {
        self.end_step(feature, step_type, End::Done(output)).await
    }

    /// Records why a step failed, and what it left all the same; it can be begun again.
    ///
    /// # Errors
    /// As [`Store::finish_step`].
    pub async fn fail_step(
        &self,
        feature: Uuid,
        step_type: StepType,
        failure: &Failure,
        left: Option<&Value>,
    ) -> Result<StoredEvent, StoreError> {
        self.end_step(feature, step_type, End::Failed(failure.to_string(), left)).await
    }

    /// Tells by an event that a feature's repository can't be fetched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ended`]; if the database can't be written.
    pub async fn tell_clone_failed(&self, feature: Uuid, failure: &Failure) -> Result<StoredEvent, StoreError> {
        const ACTION: &str = "tell of a failed clone";
        let mut transaction = self.pool.begin().await.map_err(StoreError::to(ACTION))?;
        let state = lock_running(&mut transaction, feature).await?;
        let error = failure.to_string();
        let told = Told { event_type: "repository.clone.failed", previous: None, state, step_type: None, error: Some(&error) };
        let event = append(&mut transaction, feature, told).await?;
        transaction.commit().await.map_err(StoreError::to(ACTION))?;
        Ok(event)
    }

    /// Lists a feature's steps in their order.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn steps(&self, feature: Uuid) -> Result<Vec<Step>, StoreError> {
        let read = sqlx::query_as(LIST).bind(feature).fetch_all(&self.pool).await;
        read.map_err(StoreError::to("read a feature's steps"))
    }

    async fn end_step(&self, feature: Uuid, step_type: StepType, end: End<'_>) -> Result<StoredEvent, StoreError> {
        const ACTION: &str = "end a step";
        let (outcome, event_type, output, error) = match end {
            End::Done(output) => ("done", "step.completed", Some(output), None),
            End::Failed(error, left) => ("failed", "step.failed", left, Some(error)),
        };
        let mut transaction = self.pool.begin().await.map_err(StoreError::to(ACTION))?;
        let state = lock_running(&mut transaction, feature).await?;
        let ended = sqlx::query(END).bind(step_id(feature, step_type)).bind(outcome).bind(output).bind(&error);
        let ended = ended.execute(&mut *transaction).await.map_err(StoreError::to(ACTION))?;
        if ended.rows_affected() == 0 {
            return Err(StoreError::NotRunning { id: feature, step_type: step_type.name() });
        }
        let told = Told { event_type, previous: None, state, step_type: Some(step_type.name()), error: error.as_deref() };
        let event = append(&mut transaction, feature, told).await?;
        transaction.commit().await.map_err(StoreError::to(ACTION))?;
        Ok(event)
    }
}

/// Locks the row of a feature that has not ended, and notes that it moved.
async fn lock_running(connection: &mut PgConnection, feature: Uuid) -> Result<State, StoreError> {
    let locked = sqlx::query_scalar("UPDATE feature_executions SET updated_at = now() WHERE id = $1 AND state < 6 RETURNING state");
    let locked: Option<i16> = locked.bind(feature).fetch_optional(&mut *connection).await.map_err(StoreError::to("lock a feature"))?;
    match locked {
        Some(state) => Ok(state_of(state)),
        None => Err(StoreError::Ended { id: feature, state: state_on(connection, feature).await? }),
    }
}
