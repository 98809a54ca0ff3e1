use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use provision_model::{Action, Cause, Change, GroupKind, Health, Manifest, ResourceId, Verdict};
use provision_saga::{StepContext, StepError};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::names;
use super::work::{Work, failed, interrupted};
use crate::health::is_ready_when_written;
use crate::{Clock, Cluster, Limits, Progress, SecretStore, StopReason};

const POLL: Duration = Duration::from_millis(200);
/// How often a person is told what is still missing.
const LOOK: Duration = Duration::from_secs(1);

/// Tells whether the answer to the write does not yet say that the object is ready.
pub(crate) fn has_to_be_awaited(manifest: &Manifest) -> bool {
    let kind = manifest.group_kind();
    let at_once = matches!((kind.group.as_str(), kind.kind.as_str()), ("", "Namespace") | ("policy", "PodDisruptionBudget"));
    !at_once && !is_ready_when_written(manifest)
}

/// Waits until an object is ready and stays so, judged only by what came after our write.
pub(super) async fn ready<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    change: Arc<Change>,
    step: StepContext,
) -> Result<Value, StepError> {
    let Some(manifest) = &change.manifest else { return Ok(Value::Null) };
    let limit = work.timeout_of(&change.id);
    let begun = Instant::now();
    let written = work.written(&change.id);
    // What nobody touched has been ready for long.
    let settle = if change.action == Action::Unchanged { Duration::ZERO } else { work.settle };
    let live = written.as_ref().map_or(manifest, |written| written.live.as_ref());
    let limits = Limits { timeout: limit, settle };
    let verdict = tokio::select! {
        biased;
        verdict = work.tracker.wait_ready(&change.id, live, limits, &step.cancel) => verdict,
        never = tell_what_it_waits_for(&work, &change.id) => match never {},
    };
    match verdict.health {
        Health::Current => {}
        Health::InProgress | Health::Terminating if step.cancel.is_cancelled() => return Err(interrupted()),
        Health::InProgress | Health::Terminating | Health::Failed | Health::NotFound | Health::Unknown => {
            return Err(explained(&work, verdict).await);
        }
    }
    match defined_kind(manifest) {
        Some(kind) => served(&work, &kind, limit.saturating_sub(begun.elapsed()), &step).await,
        None => Ok(Value::Null),
    }
}

/// Tells what an object still lacks, each time that changes.
async fn tell_what_it_waits_for<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, id: &ResourceId) -> Infallible {
    let step = names::ready(id);
    let mut told = String::new();
    loop {
        sleep(LOOK).await;
        let message = work.cx.redactor.clean(&work.tracker.snapshot(id).await.message);
        if message != told {
            work.cx.tell(Progress::StepProgress { step: step.as_str().to_owned(), message: message.clone() });
            told = message;
        }
    }
}

async fn explained<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, verdict: Verdict) -> StepError {
    if verdict.cause == Some(Cause::Unreachable) {
        work.stop.stop(StopReason::Unreachable { message: work.cx.redactor.clean(&verdict.message) });
        return interrupted();
    }
    let redactor = work.cx.redactor.clone();
    let verdict = work.tracker.explain(verdict, &move |line: &str| redactor.clean(line)).await;
    failed(work.cx.redactor.clean_verdict(verdict))
}

fn defined_kind(manifest: &Manifest) -> Option<GroupKind> {
    (manifest.kind() == "CustomResourceDefinition")
        .then(|| Some(GroupKind::new(manifest.text("/spec/group")?, manifest.text("/spec/names/kind")?)))
        .flatten()
}

/// Waits until the API server serves a kind that was just defined.
async fn served<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    kind: &GroupKind,
    limit: Duration,
    step: &StepContext,
) -> Result<Value, StepError> {
    let end = Instant::now() + limit;
    loop {
        match work.cx.cluster.api().await {
            Ok(api) if api.find(kind, None).is_some() => return Ok(Value::Null),
            Ok(_) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(work.failure(&error)),
        }
        if Instant::now() + POLL >= end {
            return Err(failed(Verdict::failed(Cause::Deadline, format!("the API server does not serve {kind} yet"))));
        }
        if timeout(POLL, step.cancel.cancelled()).await.is_ok() {
            return Err(interrupted());
        }
    }
}
