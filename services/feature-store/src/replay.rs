//! Replay: what a feature's events alone say that it is.

use std::collections::BTreeMap;
use std::fmt;

use feature_api::feature::{Event, State};
use thiserror::Error;

use crate::features::Feature;
use crate::steps::Step;
use crate::transition::is_final;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Begun.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
}

impl StepOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// What events say that a feature is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Id of the feature.
    pub feature: String,
    /// Sequence of the last event.
    pub sequence: i32,
    /// State after the last event.
    pub state: State,
    /// Why it failed.
    pub error: Option<String>,
    /// The steps that the events tell of.
    pub steps: BTreeMap<String, StepOutcome>,
}

/// Why events can't have happened like this.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReplayError {
    /// There are none.
    #[error("there are no events")]
    Empty,
    /// One of another feature among them.
    #[error("event {sequence} belongs to feature {feature}")]
    OtherFeature {
        /// Its sequence.
        sequence: i32,
        /// The other feature.
        feature: String,
    },
    /// One is missing or there twice.
    #[error("event {found} comes where event {expected} must be")]
    Order {
        /// The sequence that follows.
        expected: i32,
        /// The sequence that is there.
        found: i32,
    },
    /// One can't follow the one before.
    #[error("event {sequence} ({event_type}, {}) can't follow {}", state.as_str_name(), before.as_str_name())]
    Illegal {
        /// Its sequence.
        sequence: i32,
        /// Its type.
        event_type: String,
        /// The state that it tells of.
        state: State,
        /// The state before.
        before: State,
    },
}

/// Folds a feature's events, in the order of their sequences, into what the feature is.
///
/// Pure. The first event may be any of the feature's; only one with sequence 0 must be the creation.
///
/// # Errors
/// [`ReplayError`] with the first event that can't have happened there.
pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Replayed, ReplayError> {
    let mut events = events.into_iter();
    let first = events.next().ok_or(ReplayError::Empty)?;
    if (first.sequence == 0) != (first.event_type == "feature.created") || first.sequence == 0 && first.state() != State::Pending {
        return Err(illegal(first, State::Unspecified));
    }
    let mut replayed = Replayed { feature: first.feature_execution_id.clone(), ..Replayed::default() };
    replayed.take(first);
    for event in events {
        replayed.check(event)?;
        replayed.take(event);
    }
    Ok(replayed)
}

fn illegal(event: &Event, before: State) -> ReplayError {
    ReplayError::Illegal { sequence: event.sequence, event_type: event.event_type.clone(), state: event.state(), before }
}

impl Replayed {
    fn check(&self, event: &Event) -> Result<(), ReplayError> {
        if event.feature_execution_id != self.feature {
            return Err(ReplayError::OtherFeature { sequence: event.sequence, feature: event.feature_execution_id.clone() });
        }
        if event.sequence != self.sequence + 1 {
            return Err(ReplayError::Order { expected: self.sequence + 1, found: event.sequence });
        }
        let (before, after) = (self.state, event.state());
        let forward = i32::from(after) == i32::from(before) + 1 || matches!(after, State::Failed | State::Cancelled);
        let told = match event.event_type.as_str() {
            "feature.state_changed" => after != State::Cancelled && forward,
            "feature.cancelled" => after == State::Cancelled,
            "feature.created" => false,
            _ => after == before,
        };
        let previous = (after != before).then_some(before.into());
        if is_final(before) || !told || event.previous_state != previous {
            return Err(illegal(event, before));
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) {
        self.sequence = event.sequence;
        self.state = event.state();
        if self.state == State::Failed {
            self.error.clone_from(&event.error);
        }
        let outcome = match event.event_type.as_str() {
            "step.started" => Some(StepOutcome::Running),
            "step.completed" => Some(StepOutcome::Done),
            "step.failed" => Some(StepOutcome::Failed),
            _ => None,
        };
        if let (Some(step), Some(outcome)) = (&event.step_type, outcome) {
            self.steps.insert(step.clone(), outcome);
        }
        if is_final(self.state) {
            // A step that runs while its feature ends ends with it.
            self.steps.values_mut().filter(|outcome| **outcome == StepOutcome::Running).for_each(|outcome| *outcome = StepOutcome::Failed);
        }
    }

    /// Compares with what the database has; no difference means that the events tell all of it.
    pub fn compare(&self, feature: &Feature, steps: &[Step]) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut compare = |what: String, replayed: String, kept: String| {
            if replayed != kept {
                differences.push(Difference { what, replayed, kept });
            }
        };
        compare("feature".to_owned(), self.feature.clone(), feature.id.to_string());
        compare("state".to_owned(), self.state.as_str_name().to_owned(), feature.state.as_str_name().to_owned());
        compare("error".to_owned(), self.error.clone().unwrap_or_default(), feature.error.clone().unwrap_or_default());
        for (name, outcome) in &self.steps {
            let kept = steps.iter().find(|step| step.step_type == *name).map_or("none", |step| step.outcome.as_str());
            compare(format!("step {name}"), outcome.name().to_owned(), kept.to_owned());
        }
        differences
    }
}

/// Something that events and database say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// What the events say.
    pub replayed: String,
    /// What the database has.
    pub kept: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} by the events, {:?} in the database", self.what, self.replayed, self.kept)
    }
}

#[cfg(test)]
mod tests;
