//! Writes an object, and only the one that the plan was made for: the API server checks that with the write itself.

use std::sync::Arc;
use std::time::Duration;

use provision_model::{Cause, Change, Manifest, Precondition, Verdict, annotations};
use provision_saga::StepError;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::base::is_job;
use super::chain;
use super::work::{Work, failed};
use crate::retry::retry;
use crate::{Clock, Cluster, ClusterError, SecretStore, WriteMode, secrets};

/// How long a kind or namespace that was just made may be unknown to the API server, and an object that is to be made may come and go.
const DISCOVERY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The version that no object has: a write that names it makes an object and never changes one.
const ABSENT: &str = "1";

/// Writes one object as the plan says, with its mark in the same request. Repeating it changes nothing.
///
/// What somebody else made, or made anew, since the plan is not taken over.
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
    work.may_write().await?;
    let written = match precondition(&change, made_anew) {
        Precondition::Absent => make(&work, &resolved).await,
        Precondition::Uid(uid) => send(&work, &of_uid(&resolved, uid)).await,
        Precondition::None => send(&work, &resolved).await,
    };
    let live = written.map_err(|error| explain(&work, &change, made_anew, &error))?;
    work.keep_written(&change.id, work.fingerprints.mask(&live, &work.cx.redactor));
    Ok(Value::Null)
}

/// Returns what must be true of the live object; `made_anew` after the old one was deleted.
fn precondition(change: &Change, made_anew: bool) -> Precondition<'_> {
    if made_anew { change.precondition_of_remaking() } else { change.precondition() }
}

fn of_uid(manifest: &Manifest, uid: &str) -> Manifest {
    manifest.with_metadata_field("uid", Some(Value::from(uid)))
}

/// Makes an object that must not be there. One that bears the mark of this very write is ours: the answer was lost.
///
/// A conflict with nothing there is none of ours: the object went again, or the server had another one on its way.
async fn make<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, wanted: &Manifest) -> Result<Manifest, ClusterError> {
    let sent = wanted.with_metadata_field("resourceVersion", Some(Value::from(ABSENT)));
    let id = wanted.id();
    let end = Instant::now() + DISCOVERY;
    loop {
        let refused = match send(work, &sent).await {
            Err(error @ (ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. })) => error,
            result => return result,
        };
        let live = retry(work.options.retry, || work.cx.cluster.get(&id)).await?;
        match live.as_ref().map(|live| (live, live.uid())) {
            Some((live, Some(uid))) if is_marked_alike(live, wanted) => return send(work, &of_uid(wanted, uid)).await,
            None if Instant::now() + PAUSE < end && !work.stop.token().is_cancelled() => sleep(PAUSE).await,
            _ => return Err(refused),
        }
    }
}

fn is_marked_alike(live: &Manifest, wanted: &Manifest) -> bool {
    let same = |name| wanted.annotation(name).is_some_and(|mark| live.annotation(name) == Some(mark));
    same(annotations::RELEASE) && same(annotations::DIGEST)
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

fn explain<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    change: &Change,
    made_anew: bool,
    error: &ClusterError,
) -> StepError {
    let (message, next) = match (error, precondition(change, made_anew)) {
        (ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. }, Precondition::Absent) => {
            let message = format!("{} was made by someone else since the plan; it stays as it is", change.id);
            (message, "plan again: the new plan shows what would be taken over")
        }
        (ClusterError::Conflict { .. }, Precondition::Uid(_)) => {
            (format!("{} was deleted or made anew since the plan", change.id), "plan again")
        }
        _ => return work.failure(error),
    };
    failed(Verdict::failed(Cause::Conflict, message).with_next(next))
}
