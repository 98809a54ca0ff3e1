use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{StepError, StepName};

/// What the journal says of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The step is about to have its effect.
    Started,
    /// The effect is there; later steps may read `output`.
    Done {
        /// What the step hands on.
        output: Value,
    },
    /// The step gave up.
    Failed {
        /// Why.
        error: StepError,
    },
    /// The effect is about to be taken back.
    UndoStarted,
    /// The effect is gone.
    Undone,
    /// The effect could not be taken back: a person is needed.
    UndoFailed {
        /// Why.
        error: StepError,
    },
}

/// Where a step stands, as its events say.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum StepState {
    /// Nothing happened.
    #[default]
    Pending,
    /// Its effect may or may not be there.
    Started,
    /// Its effect is there.
    Done(Value),
    /// It gave up; part of its effect may be there.
    Failed(StepError),
    /// Its effect may or may not be gone.
    Undoing,
    /// Its effect is gone.
    Undone,
    /// Its effect can't be taken back.
    Stuck(StepError),
}

/// An event that can't follow the state the journal had.
#[derive(Debug, Error, PartialEq)]
#[error("the journal is damaged: `{event:?}` can't follow `{state:?}` for step `{step}`")]
pub struct IllegalEvent {
    /// Which step.
    pub step: StepName,
    /// Its state before.
    pub state: Box<StepState>,
    /// The event that doesn't fit.
    pub event: Box<Event>,
}

impl StepState {
    /// Returns the state after `event`: the one table of legal transitions.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event can't follow this state.
    pub fn next(&self, step: &StepName, event: &Event) -> Result<Self, IllegalEvent> {
        Ok(match (self, event) {
            // A step that crashed or failed is started again by a resume.
            (Self::Pending | Self::Started | Self::Failed(_) | Self::Undone, Event::Started) => Self::Started,
            (Self::Started, Event::Done { output }) => Self::Done(output.clone()),
            (Self::Started, Event::Failed { error }) => Self::Failed(error.clone()),
            (Self::Started | Self::Done(_) | Self::Failed(_) | Self::Undoing | Self::Stuck(_), Event::UndoStarted) => Self::Undoing,
            (Self::Undoing, Event::Undone) => Self::Undone,
            (Self::Undoing, Event::UndoFailed { error }) => Self::Stuck(error.clone()),
            (state, event) => {
                return Err(IllegalEvent { step: step.clone(), state: Box::new(state.clone()), event: Box::new(event.clone()) });
            }
        })
    }
}
