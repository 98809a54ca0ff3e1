use std::sync::Arc;

use crate::{
    CancelToken, Event, Evidence, Journal, JournalError, Observer, Outputs, Saga, Signal, StepContext, StepError, StepName, StepState,
};

/// What an unwinding came to.
#[derive(Debug, Default)]
pub(crate) struct Unwinding {
    /// Steps that can't be taken back.
    pub(crate) stuck: Vec<(StepName, StepError)>,
    /// Steps that are still to be taken back because someone asked to stop.
    pub(crate) remaining: Vec<StepName>,
}

/// Takes back every step that had or may have had an effect, dependents first.
///
/// What a step that is stuck comes after stays as it is: the step may rest on it.
pub(crate) async fn unwind(
    saga: &Saga,
    journal: &mut Journal<'_>,
    cancel: &CancelToken,
    observer: Observer<'_>,
) -> Result<Unwinding, JournalError> {
    let mut end = Unwinding::default();
    let mut held = vec![false; saga.steps.len()];
    for place in reverse_order(saga) {
        let step = &saga.steps[place];
        let stays = held[place] || step.undo.is_none() || !may_have_an_effect(step.evidence, journal.state(&step.name));
        if !stays && cancel.is_cancelled() {
            end.remaining.push(step.name.clone());
        } else if !stays && let Some(error) = undo(saga, journal, cancel, place).await? {
            observer(Signal::Stuck(step.name.clone(), error.clone()));
            end.stuck.push((step.name.clone(), error));
            held[place] = true;
        } else if !stays {
            observer(Signal::Undone(step.name.clone()));
        }
        if held[place] {
            saga.predecessors[place].iter().for_each(|&before| held[before] = true);
        }
    }
    Ok(end)
}

fn may_have_an_effect(evidence: Evidence, state: &StepState) -> bool {
    evidence == Evidence::World || !matches!(state, StepState::Pending | StepState::Undone)
}

/// Takes one step back; returns why it can't be.
async fn undo(saga: &Saga, journal: &mut Journal<'_>, cancel: &CancelToken, place: usize) -> Result<Option<StepError>, JournalError> {
    let step = &saga.steps[place];
    let Some(undo) = &step.undo else { return Ok(None) };
    let recorded = step.evidence == Evidence::Journal;
    if recorded {
        journal.record(&step.name, Event::UndoStarted).await?;
    }
    let result = undo(StepContext { outputs: outputs_of(saga, journal, place), cancel: cancel.clone() }).await;
    if recorded {
        let event = match &result {
            Ok(_) => Event::Undone,
            Err(error) => Event::UndoFailed { error: error.clone() },
        };
        journal.record(&step.name, event).await?;
    }
    Ok(result.err())
}

/// An undo is given its own step's output and those of the steps before it.
fn outputs_of(saga: &Saga, journal: &Journal<'_>, place: usize) -> Outputs {
    let places = saga.predecessors[place].iter().chain(std::iter::once(&place));
    let names = places.map(|&at| &saga.steps[at].name);
    Outputs(Arc::new(names.filter_map(|name| Some((name.clone(), journal.state(name).output()?.clone()))).collect()))
}

fn reverse_order(saga: &Saga) -> Vec<usize> {
    let mut open: Vec<usize> = saga.successors.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..saga.steps.len()).filter(|&place| open[place] == 0).collect();
    let mut order = Vec::with_capacity(saga.steps.len());
    while let Some(place) = ready.pop() {
        order.push(place);
        for &before in &saga.predecessors[place] {
            open[before] -= 1;
            if open[before] == 0 {
                ready.push(before);
            }
        }
    }
    order
}
