use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use provision_model::{Action, ResourceId, Verdict};
use provision_saga::{Signal, StepError, StepName};
use tokio::time::Instant;

use super::assemble::Part;
use super::work::{is_interruption, verdict_of};
use crate::{ObjectOutcome, Progress, ProgressSink, RunContext, StepInfo, StepOutcome};

/// Follows the steps of a run and tells about them, and about each object when its last step is over.
pub(super) struct Reporter {
    sink: ProgressSink,
    changes: Vec<Part>,
    resources: HashMap<StepName, ResourceId>,
    /// Change and place of each step in it.
    places: HashMap<StepName, (usize, usize)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: HashMap<StepName, Instant>,
    /// Steps done, by change.
    done: HashMap<usize, usize>,
    told: HashMap<usize, ObjectOutcome>,
}

/// How a change ended.
pub(super) struct ChangeEnd {
    pub(super) id: ResourceId,
    pub(super) action: Action,
    pub(super) is_done: bool,
}

/// How all changes of a run ended.
pub(super) struct ChangeEnds {
    pub(super) changes: Vec<ChangeEnd>,
    pub(super) resources: HashMap<StepName, ResourceId>,
}

impl Reporter {
    pub(super) fn new<C, S, K>(cx: &RunContext<C, S, K>, steps: &[StepInfo], changes: Vec<Part>) -> Self {
        let mut places = HashMap::new();
        for (number, part) in changes.iter().enumerate() {
            for (place, step) in part.steps.iter().enumerate() {
                places.insert(step.clone(), (number, place));
            }
        }
        let resources = steps.iter().map(|info| (StepName::new(&info.step), info.resource.clone())).collect();
        Self { sink: cx.progress.clone(), changes, resources, places, state: Mutex::default() }
    }

    pub(super) fn observe(&self, signal: Signal) {
        match signal {
            Signal::Started(step) => self.started(&step),
            Signal::AlreadyDone(step) => self.finished(&step, StepOutcome::Skipped, None),
            Signal::Done(step, _) => self.finished(&step, StepOutcome::Done, None),
            Signal::Failed(step, error) => self.failed(&step, &error),
            Signal::Skipped(step, because) => self.skipped(&step, &because),
            Signal::Undone(step) => self.finished(&step, StepOutcome::Undone, None),
            Signal::Stuck(step, error) => self.failed(&step, &error),
        }
    }

    pub(super) fn into_changes(self) -> ChangeEnds {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ends = self.changes.iter().enumerate().map(|(number, part)| ChangeEnd {
            id: part.change.id.clone(),
            action: part.change.action,
            is_done: state.done.get(&number).copied().unwrap_or(0) == part.steps.len(),
        });
        ChangeEnds { changes: ends.collect(), resources: self.resources }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, step: &StepName) {
        if self.resources.contains_key(step) {
            self.state().begun.insert(step.clone(), Instant::now());
            (self.sink)(Progress::StepStarted { step: step.as_str().to_owned() });
        }
    }

    fn finished(&self, step: &StepName, outcome: StepOutcome, verdict: Option<Verdict>) {
        if !self.resources.contains_key(step) {
            return;
        }
        let seconds = self.state().begun.remove(step).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        (self.sink)(Progress::StepFinished { step: step.as_str().to_owned(), outcome, seconds, verdict });
        if matches!(outcome, StepOutcome::Done | StepOutcome::Skipped)
            && let Some(&(number, _)) = self.places.get(step)
        {
            let done = {
                let mut state = self.state();
                let done = state.done.entry(number).or_default();
                *done += 1;
                *done
            };
            if self.changes.get(number).is_some_and(|part| part.steps.len() == done) {
                self.tell(number, ObjectOutcome::Done, None);
            }
        }
    }

    fn failed(&self, step: &StepName, error: &StepError) {
        if is_interruption(error) {
            return;
        }
        let verdict = verdict_of(error);
        self.finished(step, StepOutcome::Failed, Some(verdict.clone()));
        if let Some(&(number, _)) = self.places.get(step) {
            self.tell(number, ObjectOutcome::Failed, Some(verdict.message));
        }
    }

    fn skipped(&self, step: &StepName, because: &StepName) {
        self.finished_as_skipped(step);
        if let Some(&(number, _)) = self.places.get(step) {
            self.tell(number, ObjectOutcome::Skipped, Some(format!("`{because}` failed")));
        }
    }

    fn finished_as_skipped(&self, step: &StepName) {
        if self.resources.contains_key(step) {
            let step = step.as_str().to_owned();
            (self.sink)(Progress::StepFinished { step, outcome: StepOutcome::Skipped, seconds: 0.0, verdict: None });
        }
    }

    fn tell(&self, number: usize, outcome: ObjectOutcome, reason: Option<String>) {
        let Some(part) = self.changes.get(number) else { return };
        if self.state().told.insert(number, outcome).is_some()
            || (part.change.action == Action::Unchanged && outcome == ObjectOutcome::Done)
        {
            return;
        }
        let change = &part.change;
        let reason = reason.unwrap_or_else(|| change.reason.clone());
        (self.sink)(Progress::Object { action: change.action, resource: change.id.clone(), outcome, reason });
    }
}
