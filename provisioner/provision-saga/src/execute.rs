use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use thiserror::Error;

use crate::undo::{Unwinding, unwind};
use crate::{
    CancelToken, Event, Evidence, Journal, JournalError, JournalStore, Lane, Outputs, Saga, StepContext, StepError, StepName, StepState,
};

/// What happens when a step gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Steps that don't come after it go on; all failures are reported together.
    ContinueIndependent,
    /// Nothing new starts; what was done is undone, newest first. A resume goes on with that; a new attempt needs a new journal.
    Unwind,
}

/// How a saga is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What happens when a step gives up.
    pub on_failure: OnFailure,
    /// Most steps of the write lane at a time.
    pub writes: usize,
    /// Most steps of the wait lane at a time.
    pub waits: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { on_failure: OnFailure::ContinueIndependent, writes: 16, waits: usize::MAX }
    }
}

/// What an observer is told while a saga runs.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A step starts.
    Started(StepName),
    /// A step was done before and is not run.
    AlreadyDone(StepName),
    /// A step is done.
    Done(StepName, Value),
    /// A step gave up.
    Failed(StepName, StepError),
    /// A step will not run because the named one failed.
    Skipped(StepName, StepName),
    /// A step's effect was taken back.
    Undone(StepName),
    /// A step's effect can't be taken back.
    Stuck(StepName, StepError),
}

/// Is told what happens, in order, on the task that runs the saga: it must not block.
pub type Observer<'o> = &'o (dyn Fn(Signal) + Send + Sync);

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Every step is done.
    Done,
    /// Some steps gave up; what comes after them was skipped.
    Failed {
        /// Steps that gave up, in the order in which they did.
        failures: Vec<(StepName, StepError)>,
        /// Steps that did not run, each with the failed step that it comes after.
        skipped: Vec<(StepName, StepName)>,
    },
    /// Someone asked to stop: these steps were not started, or not yet undone.
    Stopped {
        /// Their turn comes when the saga is resumed.
        remaining: Vec<StepName>,
        /// Steps that gave up before that.
        failures: Vec<(StepName, StepError)>,
    },
    /// A step gave up and everything done was undone.
    Unwound {
        /// The steps that gave up.
        failures: Vec<(StepName, StepError)>,
    },
    /// A step gave up and something can't be undone: a person is needed.
    Stuck {
        /// The steps that gave up.
        failures: Vec<(StepName, StepError)>,
        /// The steps that can't be undone; what they come after stays too.
        stuck: Vec<(StepName, StepError)>,
    },
}

/// Why a run ended without an outcome; resume it when the reason is gone.
#[derive(Debug, Error)]
pub enum ExecuteError {
    /// The journal can't be read or written. No step runs without its record.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a run is given besides its saga.
pub struct Execution<'e> {
    /// Where the journal is kept.
    pub journal: &'e dyn JournalStore,
    /// How to run.
    pub options: Options,
    /// Asks to stop between steps.
    pub cancel: CancelToken,
    /// Is told what happens.
    pub observer: Observer<'e>,
}

/// Runs every step that the journal does not call done; the same call resumes after a crash.
///
/// Steps start as soon as all that they come after are done, within the lanes' budgets. A running step is never dropped: when asked to
/// stop, or when the journal fails, the steps in flight end first. A journal in which anything was undone is only unwound further,
/// whatever the options say.
///
/// # Errors
/// [`ExecuteError::Journal`] when the journal can't be read or written.
pub async fn execute(saga: &Saga, execution: Execution<'_>) -> Result<Outcome, ExecuteError> {
    let journal = Journal::open(execution.journal).await?;
    let mut run = Run::new(saga, journal, &execution);
    if run.journal.is_unwinding() {
        let failures = run.journal.failures().to_vec();
        return run.unwind(failures).await;
    }
    run.replay();
    let result = run.drive().await;
    run.finish(result).await
}

type Running = BoxFuture<'static, (usize, Result<Value, StepError>)>;

struct Run<'r> {
    saga: &'r Saga,
    journal: Journal<'r>,
    options: Options,
    cancel: CancelToken,
    observer: Observer<'r>,
    open: Vec<usize>,
    ready: BTreeMap<Lane, VecDeque<usize>>,
    busy: BTreeMap<Lane, usize>,
    outputs: BTreeMap<usize, Value>,
    started: Vec<bool>,
    failures: Vec<(usize, StepError)>,
}

impl<'r> Run<'r> {
    fn new(saga: &'r Saga, journal: Journal<'r>, execution: &Execution<'r>) -> Self {
        let open: Vec<usize> = saga.predecessors.iter().map(Vec::len).collect();
        Self {
            saga,
            journal,
            options: execution.options,
            cancel: execution.cancel.clone(),
            observer: execution.observer,
            ready: BTreeMap::from([(Lane::Write, VecDeque::new()), (Lane::Wait, VecDeque::new())]),
            busy: BTreeMap::from([(Lane::Write, 0), (Lane::Wait, 0)]),
            outputs: BTreeMap::new(),
            started: vec![false; open.len()],
            failures: Vec::new(),
            open,
        }
    }

    fn replay(&mut self) {
        let roots: Vec<usize> = (0..self.saga.steps.len()).filter(|&place| self.open[place] == 0).collect();
        for place in roots {
            self.unblock(place);
        }
    }

    /// A step's predecessors are all done: queue it, or pass over it when the journal calls it done.
    fn unblock(&mut self, place: usize) {
        let mut passed = vec![place];
        while let Some(place) = passed.pop() {
            let step = &self.saga.steps[place];
            match self.journal.state(&step.name) {
                StepState::Done(output) => {
                    self.outputs.insert(place, output.clone());
                    self.started[place] = true;
                    (self.observer)(Signal::AlreadyDone(step.name.clone()));
                    passed.extend(self.complete(place));
                }
                StepState::Pending
                | StepState::Started
                | StepState::Failed(_)
                | StepState::Undoing(_)
                | StepState::Undone
                | StepState::Stuck(..) => {
                    self.ready.entry(step.lane).or_default().push_back(place);
                }
            }
        }
    }

    /// Returns the steps for which this was the last open predecessor.
    fn complete(&mut self, place: usize) -> Vec<usize> {
        let mut free = Vec::new();
        for &next in &self.saga.successors[place] {
            self.open[next] -= 1;
            if self.open[next] == 0 {
                free.push(next);
            }
        }
        free
    }

    fn stopping(&self) -> bool {
        self.cancel.is_cancelled() || (self.options.on_failure == OnFailure::Unwind && !self.failures.is_empty())
    }

    fn next_ready(&mut self) -> Option<usize> {
        for (lane, limit) in [(Lane::Write, self.options.writes), (Lane::Wait, self.options.waits)] {
            if self.busy.get(&lane).copied().unwrap_or(0) < limit.max(1)
                && let Some(place) = self.ready.get_mut(&lane).and_then(VecDeque::pop_front)
            {
                return Some(place);
            }
        }
        None
    }

    async fn drive(&mut self) -> Result<(), JournalError> {
        let mut running: FuturesUnordered<Running> = FuturesUnordered::new();
        let mut broken = None;
        loop {
            while broken.is_none() && !self.stopping() {
                let Some(place) = self.next_ready() else { break };
                match self.start(place).await {
                    Ok(future) => running.push(future),
                    Err(error) => broken = Some(error),
                }
            }
            let Some((place, result)) = running.next().await else { break };
            if let Err(error) = self.end(place, result).await {
                broken.get_or_insert(error);
            }
        }
        broken.map_or(Ok(()), Err)
    }

    async fn start(&mut self, place: usize) -> Result<Running, JournalError> {
        let step = &self.saga.steps[place];
        if step.evidence == Evidence::Journal {
            self.journal.record(&step.name, Event::Started).await?;
        }
        self.started[place] = true;
        *self.busy.entry(step.lane).or_default() += 1;
        (self.observer)(Signal::Started(step.name.clone()));
        let future = (step.act)(self.context(place));
        Ok(Box::pin(async move { (place, future.await) }))
    }

    fn context(&self, place: usize) -> StepContext {
        let outputs = self.saga.predecessors[place]
            .iter()
            .filter_map(|before| Some((self.saga.steps[*before].name.clone(), self.outputs.get(before)?.clone())))
            .collect();
        StepContext { outputs: Outputs(Arc::new(outputs)), cancel: self.cancel.clone() }
    }

    async fn end(&mut self, place: usize, result: Result<Value, StepError>) -> Result<(), JournalError> {
        let step = &self.saga.steps[place];
        if let Some(busy) = self.busy.get_mut(&step.lane) {
            *busy -= 1;
        }
        let recorded = step.evidence == Evidence::Journal;
        match result {
            Ok(output) => {
                if recorded {
                    self.journal.record(&step.name, Event::Done { output: output.clone() }).await?;
                }
                (self.observer)(Signal::Done(step.name.clone(), output.clone()));
                self.outputs.insert(place, output);
                for next in self.complete(place) {
                    self.unblock(next);
                }
            }
            Err(error) => {
                if recorded {
                    self.journal.record(&step.name, Event::Failed { error: error.clone() }).await?;
                }
                (self.observer)(Signal::Failed(step.name.clone(), error.clone()));
                self.failures.push((place, error));
            }
        }
        Ok(())
    }

    async fn finish(self, result: Result<(), JournalError>) -> Result<Outcome, ExecuteError> {
        result?;
        let failures: Vec<(StepName, StepError)> =
            self.failures.iter().map(|(place, error)| (self.saga.steps[*place].name.clone(), error.clone())).collect();
        // Who asks to stop may have made the step give up: what is done stays, and a resume tries again.
        if self.options.on_failure == OnFailure::Unwind && !failures.is_empty() && !self.cancel.is_cancelled() {
            return self.unwind(failures).await;
        }
        let blocked = self.blocked();
        let remaining: Vec<StepName> = (0..self.saga.steps.len())
            .filter(|&place| !self.started[place] && !blocked.contains_key(&place))
            .map(|place| self.saga.steps[place].name.clone())
            .collect();
        if self.cancel.is_cancelled() && (!remaining.is_empty() || !failures.is_empty()) {
            return Ok(Outcome::Stopped { remaining, failures });
        }
        if failures.is_empty() {
            return Ok(Outcome::Done);
        }
        let skipped: Vec<(StepName, StepName)> =
            blocked.into_iter().map(|(place, cause)| (self.saga.steps[place].name.clone(), self.saga.steps[cause].name.clone())).collect();
        for (step, cause) in &skipped {
            (self.observer)(Signal::Skipped(step.clone(), cause.clone()));
        }
        Ok(Outcome::Failed { failures, skipped })
    }

    async fn unwind(mut self, failures: Vec<(StepName, StepError)>) -> Result<Outcome, ExecuteError> {
        let Unwinding { stuck, remaining } = unwind(self.saga, &mut self.journal, &self.cancel, self.observer).await?;
        Ok(match (stuck.is_empty(), remaining.is_empty()) {
            (true, true) => Outcome::Unwound { failures },
            (true, false) => Outcome::Stopped { remaining, failures },
            (false, _) => Outcome::Stuck { failures, stuck },
        })
    }

    /// Maps every step that comes after a failed one, directly or not, to the first such failure.
    fn blocked(&self) -> BTreeMap<usize, usize> {
        let mut blocked = BTreeMap::new();
        for (failed, _) in &self.failures {
            let mut open = vec![*failed];
            while let Some(place) = open.pop() {
                for &next in &self.saga.successors[place] {
                    if blocked.insert(next, *failed).is_none() {
                        open.push(next);
                    }
                }
            }
        }
        blocked
    }
}
