use std::sync::Arc;

use crate::{
    CancelToken, Event, Evidence, Journal, JournalError, Observer, Outputs, Saga, Signal, StepContext, StepError, StepName, StepState,
};

/// Takes back every step that had or may have had an effect, dependents first; returns those that can't be.
pub(crate) async fn unwind(
    saga: &Saga,
    journal: &mut Journal<'_>,
    cancel: &CancelToken,
    observer: Observer<'_>,
) -> Result<Vec<(StepName, StepError)>, JournalError> {
    let mut stuck = Vec::new();
    for place in reverse_order(saga) {
        let step = &saga.steps[place];
        if step.evidence == Evidence::Journal && matches!(journal.state(&step.name), StepState::Pending | StepState::Undone) {
            continue;
        }
        let Some(undo) = &step.undo else { continue };
        let recorded = step.evidence == Evidence::Journal;
        if recorded {
            journal.record(&step.name, Event::UndoStarted).await?;
        }
        let context = StepContext { outputs: outputs_of(saga, journal, place), cancel: cancel.clone() };
        match undo(context).await {
            Ok(_) => {
                if recorded {
                    journal.record(&step.name, Event::Undone).await?;
                }
                observer(Signal::Undone(step.name.clone()));
            }
            Err(error) => {
                if recorded {
                    journal.record(&step.name, Event::UndoFailed { error: error.clone() }).await?;
                }
                observer(Signal::Stuck(step.name.clone(), error.clone()));
                stuck.push((step.name.clone(), error));
                // What it rests on must stay as long as it is there.
                break;
            }
        }
    }
    Ok(stuck)
}

/// An undo is given its own step's output and those of the steps before it.
fn outputs_of(saga: &Saga, journal: &Journal<'_>, place: usize) -> Outputs {
    let own = std::iter::once(&place);
    let outputs = saga.predecessors[place]
        .iter()
        .chain(own)
        .filter_map(|&at| match journal.state(&saga.steps[at].name) {
            StepState::Done(output) => Some((saga.steps[at].name.clone(), output.clone())),
            StepState::Pending
            | StepState::Started
            | StepState::Failed(_)
            | StepState::Undoing
            | StepState::Undone
            | StepState::Stuck(_) => None,
        })
        .collect();
    Outputs(Arc::new(outputs))
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
