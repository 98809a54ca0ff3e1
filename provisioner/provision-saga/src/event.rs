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
    /// Its effect may or may not be gone; what it had handed on, if it was done.
    Undoing(Option<Value>),
    /// Its effect is gone.
    Undone,
    /// Its effect could not be taken back; what it had handed on, if it was done.
    Stuck(StepError, Option<Value>),
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
            // A step that crashed or failed is started again by a resume; one that is taken back is not.
            (Self::Pending | Self::Started | Self::Failed(_), Event::Started) => Self::Started,
            (Self::Started, Event::Done { output }) => Self::Done(output.clone()),
            (Self::Started, Event::Failed { error }) => Self::Failed(error.clone()),
            (Self::Started | Self::Done(_) | Self::Failed(_) | Self::Undoing(_) | Self::Stuck(..), Event::UndoStarted) => {
                Self::Undoing(self.output().cloned())
            }
            (Self::Undoing(_), Event::Undone) => Self::Undone,
            (Self::Undoing(output), Event::UndoFailed { error }) => Self::Stuck(error.clone(), output.clone()),
            (state, event) => {
                return Err(IllegalEvent { step: step.clone(), state: Box::new(state.clone()), event: Box::new(event.clone()) });
            }
        })
    }
    /// Returns what the step handed on, as long as its effect is not surely gone.
    pub fn output(&self) -> Option<&Value> {
        match self {
            Self::Done(output) | Self::Undoing(Some(output)) | Self::Stuck(_, Some(output)) => Some(output),
            Self::Pending | Self::Started | Self::Failed(_) | Self::Undoing(None) | Self::Undone | Self::Stuck(_, None) => None,
        }
    }

    /// Tells whether the step is, or was, taken back.
    pub fn is_undo(&self) -> bool {
        matches!(self, Self::Undoing(_) | Self::Undone | Self::Stuck(..))
    }
}
