//! Features, one state forward at a time: whoever asks, under the feature's lock, from the last step that is recorded.

mod attempts;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use feature_api::feature::State;
use feature_store::{Cause, Failure, Feature, Move, Step, StepType, StoreError, Transition, is_final};
use serde::de::DeserializeOwned;
use service_kit::trace;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::counts::{self, Active};
use crate::journal::Journal;
use crate::steps::{self, Look, Made, Patch, Plan, Push, Tree, Verify};
use crate::upstreams::Upstreams;
use watch::Watch;

/// How the worker works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Features that are driven at the same time.
    pub(crate) concurrency: usize,
    /// How often a step is begun before its feature fails.
    pub(crate) tries: u32,
    /// Wait after the first failure of a step; it doubles with each.
    pub(crate) backoff: Duration,
    /// How often it is looked at whether work that runs is still wanted.
    pub(crate) watch: Duration,
    /// How long artifacts are kept.
    pub(crate) artifacts_kept: Duration,
}

/// The end of the process, in two stages; clones tell the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// Nothing new is begun.
    pub(crate) begin_nothing: CancellationToken,
    /// What still runs is dropped: the next worker takes it up.
    pub(crate) drop_everything: CancellationToken,
}

/// Why work on a feature ended before the feature moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The feature has ended: somebody cancelled it.
    Ended,
    /// The lock is gone, and somebody else may have it.
    LockLost,
    /// The process ends.
    Stopping,
}

/// What became of a wish to bring a feature forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advanced {
    /// It is in this state now.
    To(State),
    /// It was in another state than expected, or has ended: there is nothing to do.
    Nothing,
    /// Another one is at it.
    Busy,
    /// It is where it was.
    Left(Left),
}

/// What became of a wish, and how long the steps took that it needed, waits between attempts included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) became: Advanced,
    pub(crate) worked: Duration,
}

impl From<Advanced> for Advance {
    fn from(became: Advanced) -> Self {
        Self { became, worked: Duration::ZERO }
    }
}

/// Why the work of a state did not lead forward.
pub(crate) enum Interrupted {
    /// The feature can't be done.
    Failed(Failure),
    /// The work was left.
    Left(Left),
    /// The database did not answer as it should.
    Store(StoreError),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Ended { .. } => Self::Left(Left::Ended),
            // Somebody else has ended the step that this one began.
            StoreError::NotRunning { .. } => Self::Left(Left::LockLost),
            // The key is another one, and will be tomorrow.
            StoreError::Instruction { .. } => Self::Failed(Failure::new(Cause::Internal, &error.to_string())),
            error => Self::Store(error),
        }
    }
}

/// Drives features; one for each process.
pub(crate) struct Driver<J, U> {
    journal: J,
    upstreams: U,
    options: Options,
    stop: Stop,
    /// Room for features that are driven.
    pub(crate) slots: Arc<Semaphore>,
    driven: Mutex<HashSet<Uuid>>,
}

impl<J: Journal, U: Upstreams> Driver<J, U> {
    pub(crate) fn new(journal: J, upstreams: U, options: Options, stop: Stop) -> Self {
        let slots = Arc::new(Semaphore::new(options.concurrency));
        Self { journal, upstreams, options, stop, slots, driven: Mutex::default() }
    }

    /// Returns the end of the process.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Tells whether this process is at a feature.
    pub(crate) fn is_at(&self, feature: Uuid) -> bool {
        self.driven().contains(&feature)
    }

    /// Does the work of the state that a feature is in and brings it one state forward, or to FAILED.
    ///
    /// With an `expected` state nothing happens if the feature is in another one.
    ///
    /// # Errors
    /// What the database said; the feature is where it was, and its recorded steps stay done.
    pub(crate) async fn advance(&self, feature: Uuid, expected: Option<State>) -> Result<Advance, StoreError> {
        let state = self.journal.state(feature).await?;
        if is_final(state) || expected.is_some_and(|expected| expected != state) {
            return Ok(Advanced::Nothing.into());
        }
        let Some(lock) = self.journal.lock(feature).await? else { return Ok(Advanced::Busy.into()) };
        let _active = (Active::start(), Driven::start(&self.driven, feature));
        let mut watch = Watch::new(&self.journal, &self.stop, (feature, lock), self.options.watch);
        let advanced = match self.journal.get(feature).await {
            Ok(seen) if expected.is_none_or(|expected| expected == seen.state) && !is_final(seen.state) => {
                let (parent, state) = (seen.trace.parent.clone(), seen.trace.state.clone());
                let span = tracing::info_span!("drive feature", %feature, otel.kind = "consumer");
                trace::enter(span, parent.as_deref(), state.as_deref(), self.work(&seen, &mut watch)).await
            }
            Ok(_) => Ok(Advanced::Nothing),
            Err(error) => Err(error),
        };
        let worked = watch.worked;
        self.journal.release(watch.into_lock()).await;
        advanced.map(|became| Advance { became, worked })
    }

    async fn work(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<Advanced, StoreError> {
        let wanted = match self.do_state(feature, watch).await {
            Ok(()) if feature.state == State::Executing => Move::forward(feature.state).map(|to| to.with_branch(steps::branch(feature))),
            Ok(()) => Move::forward(feature.state),
            Err(Interrupted::Failed(failure)) => {
                if failure.cause() == Cause::Fetch {
                    self.journal.tell_clone_failed(feature.id, &failure).await?;
                }
                tracing::warn!(reason = failure.to_string(), "feature failed");
                Some(Move::failed(feature.state, &failure))
            }
            Err(Interrupted::Left(left)) => {
                tracing::info!(?left, "feature left as it is");
                return Ok(Advanced::Left(left));
            }
            Err(Interrupted::Store(error)) => return Err(error),
        };
        let Some(wanted) = wanted else { return Ok(Advanced::Nothing) };
        match self.journal.transition(feature.id, &wanted).await? {
            Transition::Moved { age, .. } => {
                tracing::info!(from = feature.state.as_str_name(), to = wanted.to().as_str_name(), "feature moved");
                if is_final(wanted.to()) {
                    counts::feature_ended(feature.state, wanted.to(), age);
                }
                Ok(Advanced::To(wanted.to()))
            }
            Transition::NotThere { .. } => Ok(Advanced::Nothing),
        }
    }

    /// Does the steps of the feature's state that are not done yet.
    async fn do_state(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<(), Interrupted> {
        match feature.state {
            State::Analyzing => self.analyze(feature, watch).await,
            State::Planning => self.plan(feature, watch).await,
            State::Executing => self.execute(feature, watch).await,
            State::Verifying => self.verify(feature, watch).await,
            _ => Ok(()),
        }
    }

    async fn analyze(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<(), Interrupted> {
        let upstreams = &self.upstreams;
        self.step(watch, StepType::Look, |_| async move { steps::look(upstreams, feature).await }).await.map(drop)
    }

    async fn plan(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<(), Interrupted> {
        let (instruction, done) = (&self.journal.instruction(feature.id).await?, self.journal.steps(feature.id).await?);
        let (upstreams, look) = (&self.upstreams, &recorded::<Look>(&done, StepType::Look)?);
        self.step(watch, StepType::Plan, |run| async move { steps::plan(upstreams, &run, instruction, look).await }).await.map(drop)
    }

    async fn execute(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<(), Interrupted> {
        let (instruction, done) = (&self.journal.instruction(feature.id).await?, self.journal.steps(feature.id).await?);
        let (look, plan) = (&recorded::<Look>(&done, StepType::Look)?, &recorded::<Plan>(&done, StepType::Plan)?);
        let upstreams = &self.upstreams;
        let patch = |run| async move { steps::patch(upstreams, &run, instruction, (look, plan)).await };
        let patch = &self.step(watch, StepType::Patch, patch).await?;
        let push = |run| async move { steps::push(upstreams, &run, feature, (look, plan, patch)).await };
        self.step(watch, StepType::Push, push).await.map(drop)
    }

    async fn verify(&self, feature: &Feature, watch: &mut Watch<'_, J>) -> Result<(), Interrupted> {
        let done = self.journal.steps(feature.id).await?;
        let (look, plan) = (&recorded::<Look>(&done, StepType::Look)?, &recorded::<Plan>(&done, StepType::Plan)?);
        let (patch, push) = (&recorded::<Patch>(&done, StepType::Patch)?, &recorded::<Push>(&done, StepType::Push)?);
        let (upstreams, kept_for) = (&self.upstreams, self.options.artifacts_kept);
        let made = |log| Made { feature, patch: &patch.patch, log, kept_for };
        let verified: Option<Verify> = if plan.verify.is_empty() {
            None
        } else {
            let verify = |run| async move { steps::verify(upstreams, &run, Tree { look, plan, push }, made(None)).await };
            Some(self.step(watch, StepType::Verify, verify).await?)
        };
        let made = &made(verified.as_ref().map(|verified| verified.log.as_str()));
        let store = |run| async move { steps::artifacts(upstreams, &run, made).await };
        self.step(watch, StepType::Artifacts, store).await.map(drop)
    }

    fn driven(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what an earlier step came to; the order of states says that it is there.
fn recorded<T: DeserializeOwned>(done: &[Step], step: StepType) -> Result<T, Interrupted> {
    let output = done.iter().find(|kept| kept.step_type == step.name()).and_then(|kept| kept.output.clone());
    let missing = || Interrupted::Failed(Failure::new(Cause::Internal, &format!("step {} left nothing that can be used", step.name())));
    output.and_then(|output| serde_json::from_value(output).ok()).ok_or_else(missing)
}

/// Keeps a feature among those that are driven until it is dropped.
struct Driven<'a> {
    all: &'a Mutex<HashSet<Uuid>>,
    feature: Uuid,
}

impl<'a> Driven<'a> {
    fn start(all: &'a Mutex<HashSet<Uuid>>, feature: Uuid) -> Self {
        all.lock().unwrap_or_else(PoisonError::into_inner).insert(feature);
        Self { all, feature }
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.feature);
    }
}
