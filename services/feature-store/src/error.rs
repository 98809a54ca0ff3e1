//! Why the store could not do what it was asked for.

use feature_api::feature::State;
use thiserror::Error;
use uuid::Uuid;

/// Why the store could not do what it was asked for; holds no instruction, no key and no password.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database refused or can't be reached.
    #[error("failed to {action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// The database's words.
        #[source]
        source: sqlx::Error,
    },
    /// No such feature.
    #[error("there is no feature {0}")]
    NotFound(Uuid),
    /// The idempotency key stands for another repository or instruction.
    #[error("the idempotency key was used for another repository or instruction")]
    AlreadyExists,
    /// The feature has ended; nothing is added to it.
    #[error("feature {id} has ended as {}", state.as_str_name())]
    Ended {
        /// The feature.
        id: Uuid,
        /// What it ended as.
        state: State,
    },
    /// The step is not begun, or done already.
    #[error("step `{step_type}` of feature {id} does not run")]
    NotRunning {
        /// The feature.
        id: Uuid,
        /// The step's type.
        step_type: &'static str,
    },
    /// An instruction can't be encrypted or decrypted.
    #[error("failed to {action} the instruction of feature {id}: {cause}")]
    Instruction {
        /// `encrypt` or `decrypt`.
        action: &'static str,
        /// The feature.
        id: Uuid,
        /// Why, without any of its bytes.
        cause: String,
    },
}

impl StoreError {
    /// Makes the error of a statement, for `map_err`.
    pub(crate) fn to(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { action, source }
    }

    /// Tells whether the same call may succeed later: the database is starting, stopping, busy or out of reach.
    pub fn is_transient(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        match source {
            // Connections refused or cut (08, 57P), resources short (53), transactions that met (40), locks not had (55P).
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| ["08", "57P", "53", "40", "55P"].iter().any(|class| code.starts_with(class)))
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                true
            }
            _ => false,
        }
    }
}
