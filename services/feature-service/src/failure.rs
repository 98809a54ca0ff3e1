//! The store's failures as clients see them.

use feature_store::StoreError;
use service_kit::rpc::{Code, RpcError};

/// Says in words for clients what failed; what the database said is for the log only.
pub(crate) fn rpc_error(error: &StoreError) -> RpcError {
    match error {
        StoreError::NotFound(id) => RpcError::not_found(format!("there is no feature {id}")),
        StoreError::AlreadyExists => RpcError::new(Code::AlreadyExists, error.to_string()),
        StoreError::Database { .. } if error.is_transient() => {
            tracing::warn!(error = service_kit::words(error), "the database does not answer");
            RpcError::new(Code::Unavailable, "the database does not answer; the same request may succeed a little later")
        }
        StoreError::Ended { .. } | StoreError::NotRunning { .. } => RpcError::new(Code::FailedPrecondition, error.to_string()),
        StoreError::Database { .. } | StoreError::Instruction { .. } => RpcError::internal("the request failed", error),
    }
}
