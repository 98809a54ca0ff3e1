use std::sync::Arc;
use std::time::Duration;

use provision_model::{Cause, Change, Manifest, Verdict};
use provision_saga::StepError;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::base::is_job;
use super::work::{Work, failed};
use super::{chain, presence};
use crate::retry::retry;
use crate::{Clock, Cluster, ClusterError, SecretStore, WriteMode, secrets};

/// How long a kind or namespace that was just made may be unknown to the API server.
const DISCOVERY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Writes one object as the plan says, with its mark in the same request. Repeating it changes nothing.
///
/// What somebody else made since the plan is not taken over, as far as a look just before the write can tell: the API server knows no
/// "only if absent" for an apply.
pub(super) async fn write<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    change: Arc<Change>,
    made_anew: bool,
) -> Result<Value, StepError> {
    let Some(manifest) = &change.manifest else { return Ok(Value::Null) };
    let ran = work
        .base
        .get(&change.id)
        .is_some_and(|base| base.completed && work.wanted.get(&change.id).is_some_and(|wanted| base.digest == wanted.manifest.digest()));
    if ran && is_job(manifest) {
        return Ok(Value::Null);
    }
    let resolved = secrets::resolve(manifest, work.cx.secrets.as_ref(), &work.cx.redactor).await;
    let resolved = resolved.map_err(|error| {
        let message = work.cx.redactor.clean(&chain(&error));
        failed(Verdict::failed(Cause::ConfigMissing, message).with_next("provide the value and run `provision resume`"))
    })?;
    let uid = change.live_uid.as_ref().filter(|_| !made_anew);
    let sent = resolved.with_metadata_field("uid", uid.map(|uid| Value::from(uid.as_str())));
    presence::still_absent(&work, &change, made_anew).await?;
    work.may_write().await?;
    let live = send(&work, &sent).await.map_err(|error| explain(&work, &change, &error))?;
    work.keep_written(&change.id, work.fingerprints.mask(&live, &work.cx.redactor));
    Ok(Value::Null)
}

async fn send<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, sent: &Manifest) -> Result<Manifest, ClusterError> {
    let end = Instant::now() + DISCOVERY;
    loop {
        match retry(work.options.retry, || work.cx.cluster.apply(sent, WriteMode::Persist)).await {
            Err(ClusterError::NotFound { .. }) if Instant::now() + PAUSE < end && !work.stop.token().is_cancelled() => sleep(PAUSE).await,
            result => return result,
        }
    }
}

fn explain<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, change: &Change, error: &ClusterError) -> StepError {
    match error {
        ClusterError::Conflict { .. } if change.live_uid.is_some() => {
            let message = format!("{} was deleted or made anew since the plan", change.id);
            failed(Verdict::failed(Cause::Conflict, message).with_next("plan again"))
        }
        error => work.failure(error),
    }
}
