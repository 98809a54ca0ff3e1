use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use provision_model::{Cause, Manifest, Plan, RecordedObject, ResourceId, Verdict, annotations, parse_period};
use provision_saga::StepError;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::base::Base;
use super::chain;
use super::stop::Stop;
use crate::lease::Hold;
use crate::observe::salt_of;
use crate::record::{Wanted, written};
use crate::{ApplyOptions, Clock, Cluster, ClusterError, Fingerprints, RunContext, SecretStore, StopReason, Tracker};

/// What all steps of a run share.
pub(super) struct Work<C, S, K> {
    pub(super) cx: RunContext<C, S, K>,
    pub(super) options: ApplyOptions,
    pub(super) fingerprints: Fingerprints,
    /// Wanted objects.
    pub(super) wanted: BTreeMap<ResourceId, Wanted>,
    pub(super) settle: Duration,
    pub(super) object_timeout: Duration,
    /// What was recorded before.
    pub(super) base: BTreeMap<ResourceId, RecordedObject>,
    pub(super) tracker: Arc<Tracker<C>>,
    pub(super) stop: Stop,
    /// The lock; `None` for a run that writes nothing.
    pub(super) hold: Option<watch::Receiver<Hold>>,
    written: Mutex<BTreeMap<ResourceId, Written>>,
}

/// What a write of this run left.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) recorded: RecordedObject,
    /// The object as it was then, without secret values.
    pub(super) live: Arc<Manifest>,
}

impl<C: Cluster, S: SecretStore, K: Clock> Work<C, S, K> {
    pub(super) fn new(
        cx: &RunContext<C, S, K>,
        plan: &Plan,
        options: &ApplyOptions,
        base: &Base,
        hold: Option<watch::Receiver<Hold>>,
    ) -> Arc<Self> {
        let policy = &plan.desired.policy;
        Arc::new(Self {
            fingerprints: Fingerprints::new(salt_of(base.head(), &plan.cluster.uid, &plan.desired.scope())),
            wanted: plan.desired.objects.iter().map(|object| (object.id(), Wanted::of(object))).collect(),
            settle: policy.settle,
            object_timeout: policy.object_timeout,
            base: base.recorded(),
            tracker: Arc::new(Tracker::start(cx.cluster.clone(), cx.clock.as_ref())),
            stop: Stop::default(),
            cx: cx.clone(),
            options: options.clone(),
            hold,
            written: Mutex::default(),
        })
    }

    /// Keeps what a write left; `live` must be masked.
    pub(super) fn keep_written(&self, id: &ResourceId, live: Manifest) {
        let Some(wanted) = self.wanted.get(id) else { return };
        let recorded = written(wanted, &live);
        self.lock().insert(id.clone(), Written { recorded, live: Arc::new(live) });
    }

    pub(super) fn written(&self, id: &ResourceId) -> Option<Written> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ResourceId, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the longest time that an object may take.
    pub(super) fn timeout_of(&self, id: &ResourceId) -> Duration {
        let wanted = || self.wanted.get(id)?.options.timeout;
        // An object that leaves has only what was recorded of it.
        let leaving = || parse_period(self.base.get(id)?.rendered.annotation(annotations::TIMEOUT)?);
        wanted().or_else(leaving).unwrap_or(self.object_timeout)
    }

    /// Waits until the lock is surely ours; a write may begin then.
    ///
    /// # Errors
    /// An interruption when it is lost, or can't be confirmed within the patience of the run. The run stops then.
    pub(super) async fn may_write(&self) -> Result<(), StepError> {
        let Some(mut hold) = self.hold.clone() else { return Ok(()) };
        // Time or heartbeat may run out: what is known then decides.
        let _confirmed = timeout(self.options.retry, hold.wait_for(|hold| !matches!(hold, Hold::Unsure(_)))).await.is_ok();
        let reason = match &*hold.borrow() {
            Hold::Sure => return Ok(()),
            Hold::Unsure(message) => StopReason::Unreachable { message: message.clone() },
            Hold::Lost(message) => StopReason::LeaseLost { message: message.clone() },
        };
        self.stop.stop(reason);
        Err(interrupted())
    }

    /// Turns what the cluster said into a step's failure; where no request can succeed any more, the run stops.
    pub(super) fn failure(&self, error: &ClusterError) -> StepError {
        let message = self.cx.redactor.clean(&chain(error));
        if matches!(error, ClusterError::Unreachable { .. } | ClusterError::Unauthorized { .. }) {
            self.stop.stop(StopReason::Unreachable { message });
            return interrupted();
        }
        failed(Verdict { cause: cause_of(error), ..Verdict::new(provision_model::Health::Failed, message) })
    }
}

/// A failure with its verdict, which must be free of secret values.
pub(super) fn failed(verdict: Verdict) -> StepError {
    StepError::new(verdict.message.clone()).with_detail(json!({ "verdict": verdict }))
}

/// A step that ended early because the run stops.
pub(super) fn interrupted() -> StepError {
    StepError::new("the run was stopped").with_detail(json!({"interrupted": true}))
}

pub(super) fn is_interruption(error: &StepError) -> bool {
    error.detail.get("interrupted") == Some(&Value::Bool(true))
}

/// Reads a failure's verdict back.
pub(super) fn verdict_of(error: &StepError) -> Verdict {
    let verdict = error.detail.get("verdict").and_then(|verdict| serde_json::from_value(verdict.clone()).ok());
    verdict.unwrap_or_else(|| Verdict::new(provision_model::Health::Failed, error.message.clone()))
}

fn cause_of(error: &ClusterError) -> Option<Cause> {
    match error {
        ClusterError::Invalid { .. } | ClusterError::Admission { .. } => Some(Cause::Admission),
        ClusterError::Server { message, .. } if message.contains("webhook") => Some(Cause::Admission),
        ClusterError::Quota { .. } => Some(Cause::Quota),
        ClusterError::Forbidden { .. } | ClusterError::Unauthorized { .. } => Some(Cause::Forbidden),
        ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } => Some(Cause::Conflict),
        ClusterError::NotFound { .. } => Some(Cause::Dependency),
        ClusterError::Throttled { .. } | ClusterError::Unreachable { .. } | ClusterError::Server { .. } => Some(Cause::Unreachable),
        ClusterError::Other { .. } => None,
    }
}
