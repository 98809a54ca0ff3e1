//! Carries a plan out: lock, registered inventory, writes, waits, verification, record.

mod assemble;
mod base;
mod deletion;
pub(crate) mod names;
mod outcome;
mod ready;
mod record;
mod reporter;
mod stop;
mod verify;
mod work;
mod write;

use std::sync::Arc;

use provision_model::{Plan, Severity};
use provision_saga::{Execution, JournalStore, MemoryJournal, OnFailure, Options, execute};
use tokio::time::Instant;

use self::assemble::{Assembly, assemble};
use self::base::Base;
use self::outcome::{Ended, Meter};
pub(crate) use self::ready::has_to_be_awaited;
use self::stop::Watchdogs;
pub(crate) use self::verify::targets as verification_targets;
use self::work::Work;
use crate::lease::{Lease, Locked, acquire};
use crate::record::{HeadJournal, RecordStore};
use crate::{ApplyError, ApplyOptions, Clock, Cluster, Progress, Refusal, RunContext, RunOutcome, SecretStore, StopReason};

/// Carries a plan out, or goes on with it after a kill.
///
/// A plan that changes nothing takes no lock and writes nothing; what it holds is still waited for and verified. Else the release is locked,
/// everything old and new is registered in its record, and only then the first object is written. Objects that leave are deleted when all
/// others are written, ready and verified.
///
/// When the newest generation is unfinished and wanted the same, it goes on; else a new generation takes over what that one registered.
///
/// # Errors
/// [`ApplyError`] when the run could not begin; nothing of an object was written then.
pub async fn apply<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    plan: &Plan,
    options: ApplyOptions,
) -> Result<RunOutcome, ApplyError> {
    let meter = Meter::start(cx);
    let scope = plan.desired.scope();
    let store = RecordStore::new(cx.cluster.clone(), &scope, options.retry);
    if let Some(refusal) = refusal(cx, plan).await? {
        return Ok(RunOutcome::Refused { refusal });
    }
    let base = Base::load(&store).await?;
    if let Some(refusal) = base.refuses(plan) {
        return Ok(RunOutcome::Refused { refusal });
    }
    if base.is_kept_by(plan) {
        let work = Work::new(cx, plan, &options, &base, None);
        let ended = carry_out(&work, plan, &MemoryJournal::default(), None).await?;
        return Ok(ended.into_outcome(&work, &meter, None));
    }
    store.ensure_namespace().await?;
    match acquire(cx, &scope, options.lock, options.retry).await? {
        Locked::By { holder, since } => Ok(RunOutcome::Refused { refusal: Refusal::Locked { holder, since } }),
        Locked::Cancelled => Ok(meter.stopped_before_start(cx, StopReason::Interrupted)),
        Locked::Held(lease) => {
            let result = locked(cx, plan, &options, Held { store, base, lease: &lease, meter }).await;
            lease.release().await;
            result
        }
    }
}

struct Held<'l, C> {
    store: RecordStore<C>,
    base: Base,
    lease: &'l Lease<C>,
    meter: Meter,
}

async fn locked<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    plan: &Plan,
    options: &ApplyOptions,
    held: Held<'_, C>,
) -> Result<RunOutcome, ApplyError> {
    let Held { store, base, lease, meter } = held;
    let base = base.reload(&store).await?;
    if let Some(refusal) = base.refuses(plan) {
        return Ok(RunOutcome::Refused { refusal });
    }
    let work = Work::new(cx, plan, options, &base, Some(lease.hold()));
    record::adopt_unrecorded(&work, plan, &base).await?;
    let state = record::register(&work, plan, base, &store).await?;
    let generation = state.head.newest().map(|newest| newest.number);
    let journal = HeadJournal { store: store.clone(), state: Arc::new(tokio::sync::Mutex::new(state)) };
    let ended = carry_out(&work, plan, &journal, generation).await?;
    let ended = match record::finish(&work, plan, &ended, &journal).await {
        Ok(()) => ended,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the record could not be finished");
            work.stop.stop(StopReason::Journal { message: work.cx.redactor.clean(&chain(&error)) });
            ended.unrecorded()
        }
    };
    Ok(ended.into_outcome(&work, &meter, generation))
}

async fn carry_out<C: Cluster, S: SecretStore, K: Clock>(
    work: &Arc<Work<C, S, K>>,
    plan: &Plan,
    journal: &dyn JournalStore,
    generation: Option<u64>,
) -> Result<Ended, ApplyError> {
    let Assembly { saga, steps, changes } = assemble(work, plan)?;
    work.cx.tell(Progress::RunStarted {
        environment: plan.environment.clone(),
        release: plan.release.clone(),
        generation,
        steps: steps.clone(),
    });
    let watchdogs = Watchdogs::start(work);
    let reporter = reporter::Reporter::new(&work.cx, &steps, changes);
    let execution = Execution {
        journal,
        options: Options { on_failure: OnFailure::ContinueIndependent, writes: work.options.writes, waits: usize::MAX },
        cancel: work.stop.token(),
        observer: &|signal| reporter.observe(signal),
    };
    let result = execute(&saga, execution).await;
    drop(watchdogs);
    if let Err(error) = &result {
        work.stop.stop(StopReason::Journal { message: work.cx.redactor.clean(&chain(error)) });
    }
    Ok(Ended { outcome: result.ok(), changes: reporter.into_changes() })
}

async fn refusal<C: Cluster, S, K>(cx: &RunContext<C, S, K>, plan: &Plan) -> Result<Option<Refusal>, ApplyError> {
    let findings: Vec<_> = plan.findings.iter().filter(|finding| finding.severity == Severity::Fatal).cloned().collect();
    if !findings.is_empty() {
        return Ok(Some(Refusal::Findings { findings }));
    }
    let found = cx.cluster.identity().await.map_err(ApplyError::cluster_failed("ask which cluster this is"))?;
    let same = found.uid == plan.cluster.uid;
    Ok((!same).then(|| Refusal::OtherCluster { planned: plan.cluster.uid.clone(), found: found.uid }))
}

/// Joins an error with its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The moment at which a run began, by the clock that only goes forward.
pub(crate) type Began = Instant;
