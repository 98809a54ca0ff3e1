use std::sync::Arc;

use provision_model::{Cause, Change, FIELD_MANAGER, Health, Manifest, Verdict, annotations};
use provision_saga::{StepContext, StepError};
use serde_json::Value;

use super::work::{Work, failed, interrupted};
use crate::retry::retry;
use crate::{Clock, Cluster, ClusterError, SecretStore};

const ATTEMPTS: usize = 5;

/// Deletes one object if it still is the one that was planned.
pub(super) async fn delete<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    change: Arc<Change>,
) -> Result<Value, StepError> {
    work.may_write().await?;
    let uid = change.live_uid.as_deref();
    match retry(work.options.retry, || work.cx.cluster.delete(&change.id, uid)).await {
        Ok(_) => Ok(Value::Null),
        Err(ClusterError::Conflict { .. }) => {
            let message = format!("{} was made anew by someone else since the plan; it stays", change.id);
            Err(failed(Verdict::failed(Cause::Conflict, message).with_next("plan again")))
        }
        Err(error) => Err(work.failure(&error)),
    }
}

/// Waits until a deleted object is gone.
pub(super) async fn gone<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    change: Arc<Change>,
    step: StepContext,
) -> Result<Value, StepError> {
    let limit = work.timeout_of(&change.id);
    let verdict = work.tracker.wait_gone(&change.id, change.live_uid.as_deref(), limit, &step.cancel).await;
    match verdict.health {
        Health::NotFound => Ok(Value::Null),
        Health::Failed | Health::Unknown | Health::Current => Err(failed(work.cx.redactor.clean_verdict(verdict))),
        Health::InProgress | Health::Terminating if step.cancel.is_cancelled() => Err(interrupted()),
        Health::InProgress | Health::Terminating => Err(failed(work.cx.redactor.clean_verdict(verdict))),
    }
}

/// Ends our ownership of an object that stays: our annotations and our entry in `managedFields` go, its content is not touched.
pub(super) async fn release<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    change: Arc<Change>,
) -> Result<Value, StepError> {
    for _ in 0..ATTEMPTS {
        let live = retry(work.options.retry, || work.cx.cluster.get(&change.id)).await.map_err(|error| work.failure(&error))?;
        let Some(live) = live.filter(|live| change.live_uid.is_none() || live.uid() == change.live_uid.as_deref()) else {
            return Ok(Value::Null);
        };
        if live.annotation(annotations::RELEASE).is_none() {
            return Ok(Value::Null);
        }
        work.may_write().await?;
        let freed = freed(&live);
        match retry(work.options.retry, || work.cx.cluster.update(&freed)).await {
            Ok(_) => return Ok(Value::Null),
            Err(ClusterError::Conflict { .. }) => {}
            Err(error) => return Err(work.failure(&error)),
        }
    }
    let message = format!("{} is changed by someone else again and again", change.id);
    Err(failed(Verdict::failed(Cause::Conflict, message)))
}

fn freed(live: &Manifest) -> Manifest {
    let mut marks = live.value().pointer("/metadata/annotations").cloned().unwrap_or_default();
    if let Some(marks) = marks.as_object_mut() {
        marks.retain(|name, _| name != annotations::RELEASE && name != annotations::DIGEST);
    }
    let ours = |entry: &&Value| entry.get("manager").and_then(Value::as_str) == Some(FIELD_MANAGER);
    let mut others: Vec<Value> = live.managed_fields().iter().filter(|entry| !ours(entry)).cloned().collect();
    if others.is_empty() {
        // The API server takes an empty list for a client that knows nothing of the field.
        others.push(serde_json::json!({}));
    }
    live.with_metadata_field("annotations", Some(marks)).with_metadata_field("managedFields", Some(Value::Array(others)))
}
