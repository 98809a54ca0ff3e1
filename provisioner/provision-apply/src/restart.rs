//! New pods for workloads whose templates stay as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{StreamExt, iter};
use provision_model::{Action, Health, Manifest, ResourceId, Scope, Verdict};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::lease::{Locked, acquire};
use crate::retry::retry;
use crate::{
    ApplyError, ApplyOptions, Clock, Cluster, ClusterError, Limits, ObjectFailure, Phase, Progress, Refusal, RunContext, RunOutcome,
    SecretStore, StepInfo, StepOutcome, StopReason, Summary, Tracker, observe,
};

/// The annotation that `kubectl rollout restart` sets: a pod template with another value is another template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// How often a write is repeated when somebody else was faster.
const TRIES: usize = 5;
const PARALLEL: usize = 8;

/// Lists the workloads of a release: its Deployments, StatefulSets and DaemonSets that are there, by id.
///
/// # Errors
/// [`ApplyError`] when the cluster or the record can't be read.
pub async fn workloads<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
) -> Result<Vec<ResourceId>, ApplyError> {
    let observed = observe(cx, scope, &[]).await?;
    let is_workload = |id: &&ResourceId| {
        id.kind.group == "apps"
            && ["Deployment", "StatefulSet", "DaemonSet"].contains(&id.kind.kind.as_str())
            && observed.live.contains_key(id)
    };
    Ok(observed.recorded.keys().filter(is_workload).cloned().collect())
}

/// Gives workloads new pods, rolling as their strategy says, and waits until these are ready.
///
/// A restart that was killed is begun anew by asking again: each write stands for itself. The release's own fields are not touched, so it
/// is no drift.
///
/// # Errors
/// [`ApplyError`] when the lock can't be had.
pub async fn restart<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
    chosen: &[ResourceId],
    options: &ApplyOptions,
) -> Result<RunOutcome, ApplyError> {
    let begun = Instant::now();
    let stopped = |reason| RunOutcome::Stopped { summary: Summary::default(), reason, failures: Vec::new(), remaining: chosen.len() };
    let lease = match acquire(cx, scope, options.lock, options.retry).await? {
        Locked::By { holder, since } => return Ok(RunOutcome::Refused { refusal: Refusal::Locked { holder, since } }),
        Locked::Cancelled => return Ok(stopped(StopReason::Interrupted)),
        Locked::Held(lease) => lease,
    };
    cx.tell(Progress::RunStarted {
        environment: scope.environment.clone(),
        release: scope.release.clone(),
        generation: None,
        steps: chosen.iter().map(|id| StepInfo { step: step(id), resource: id.clone(), phase: Phase::Ready, after: Vec::new() }).collect(),
    });
    let renewal = Renewal {
        tracker: Tracker::start(cx.cluster.clone(), cx.clock.as_ref()),
        limits: Limits { timeout: options.timeout.unwrap_or(scope.policy.object_timeout), settle: scope.policy.settle },
        at: cx.clock.now().to_string(),
        options,
    };
    let renewal = Arc::new(renewal);
    let work = iter(chosen.iter().cloned()).map(|id| {
        let renewal = renewal.clone();
        async move { (renewal.of(cx, &id).await, id) }
    });
    let verdicts: Vec<(Verdict, ResourceId)> = work.buffer_unordered(PARALLEL).collect().await;
    lease.release().await;
    let done = verdicts.iter().filter(|(verdict, _)| verdict.health == Health::Current).count();
    let summary = Summary { done: BTreeMap::from([(Action::Update, done)]), elapsed: begun.elapsed(), ..Summary::default() };
    if cx.cancel.is_cancelled() && done < chosen.len() {
        return Ok(RunOutcome::Stopped { summary, reason: StopReason::Interrupted, failures: Vec::new(), remaining: chosen.len() - done });
    }
    let failures: Vec<ObjectFailure> = verdicts.into_iter().filter(|(verdict, _)| verdict.health != Health::Current).map(failure).collect();
    Ok(if failures.is_empty() { RunOutcome::Done { summary } } else { RunOutcome::Failed { summary, failures, skipped: Vec::new() } })
}

fn step(id: &ResourceId) -> String {
    format!("restart {id}")
}

fn failure((verdict, id): (Verdict, ResourceId)) -> ObjectFailure {
    ObjectFailure { step: step(&id), resource: Some(id), verdict, origin: None }
}

struct Renewal<'o, C> {
    tracker: Tracker<C>,
    limits: Limits,
    at: String,
    options: &'o ApplyOptions,
}

impl<C: Cluster> Renewal<'_, C> {
    async fn of<S, K>(&self, cx: &RunContext<C, S, K>, id: &ResourceId) -> Verdict {
        let begun = Instant::now();
        cx.tell(Progress::StepStarted { step: step(id) });
        let verdict = match retry(self.options.retry, || mark(cx, id, &self.at)).await {
            Ok(written) => {
                let verdict = self.tracker.wait_ready(id, &written, self.limits, &cx.cancel).await;
                let redactor = cx.redactor.clone();
                self.tracker.explain(verdict, &move |line: &str| redactor.clean(line)).await
            }
            Err(error) => Verdict::new(Health::Failed, crate::run::chain(&error)),
        };
        let verdict = cx.redactor.clean_verdict(verdict);
        let is_done = verdict.health == Health::Current;
        cx.tell(Progress::StepFinished {
            step: step(id),
            outcome: if is_done { StepOutcome::Done } else { StepOutcome::Failed },
            seconds: begun.elapsed().as_secs_f64(),
            verdict: (!is_done).then(|| verdict.clone()),
        });
        verdict
    }
}

/// Sets the annotation on the template, again as often as somebody else is faster.
async fn mark<C: Cluster, S, K>(cx: &RunContext<C, S, K>, id: &ResourceId, at: &str) -> Result<Manifest, ClusterError> {
    let mut tries = 0;
    loop {
        let Some(live) = cx.cluster.get(id).await? else { return Err(ClusterError::NotFound { subject: id.to_string() }) };
        tries += 1;
        match cx.cluster.update(&marked(&live, at)?).await {
            Err(ClusterError::Conflict { .. }) if tries < TRIES => {}
            written => return written,
        }
    }
}

fn marked(live: &Manifest, at: &str) -> Result<Manifest, ClusterError> {
    let mut value = live.value().clone();
    let template = value.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = template {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        annotations[RESTARTED_AT] = at.into();
    }
    Manifest::try_from(value).map_err(|error| ClusterError::Other { message: error.to_string(), source: None })
}
