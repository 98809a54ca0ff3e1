//! The metrics that the worker feeds, each in one place.

use std::time::Duration;

use feature_api::feature::State;
use feature_store::StepType;
use metrics::{counter, gauge, histogram};

/// How an attempt of a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    Completed,
    Failed,
    Retried,
}

pub(crate) fn step_ended(step: StepType, end: StepEnd, took: Duration) {
    let outcome = match end {
        StepEnd::Completed => "completed",
        StepEnd::Failed => "failed",
        StepEnd::Retried => "retried",
    };
    counter!("feature_steps_total", "type" => step.name(), "outcome" => outcome).increment(1);
    histogram!("feature_step_duration_seconds", "type" => step.name(), "outcome" => outcome).record(took);
}

/// Counts a feature that has ended; `from` is the state before, `age` its time since creation.
pub(crate) fn feature_ended(from: State, to: State, age: Duration) {
    let (from, outcome) = (from.as_str_name().to_lowercase(), to.as_str_name().to_lowercase());
    counter!("feature_executions_total", "state" => from, "outcome" => outcome.clone()).increment(1);
    histogram!("feature_execution_duration_seconds", "state" => outcome).record(age);
}

/// Records how long an event took, the work of its steps left out: that has a metric of its own.
pub(crate) fn event_processed(event_type: &'static str, took: Duration) {
    histogram!("event_processing_duration_seconds", "event_type" => event_type).record(took);
}

pub(crate) fn event_failed(event_type: &'static str) {
    counter!("event_processing_errors_total", "event_type" => event_type).increment(1);
}

/// Types of events that there are.
const KNOWN: [&str; 7] = [
    "feature.created",
    "feature.state_changed",
    "feature.cancelled",
    "step.started",
    "step.completed",
    "step.failed",
    "repository.clone.failed",
];
/// Label of all others.
const UNKNOWN: &str = "unknown";

/// Shows counters at zero from the start: an alert on a rate would miss the first failure of a counter that begins with it.
pub(crate) fn begin() {
    for event_type in KNOWN.into_iter().chain([UNKNOWN]) {
        counter!("event_processing_errors_total", "event_type" => event_type).absolute(0);
    }
}

/// Returns the label of an event's type: one of a closed set, whatever the bus brings.
pub(crate) fn label(event_type: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == event_type).unwrap_or(UNKNOWN)
}

/// Counts a feature as driven until it is dropped.
pub(crate) struct Active;

impl Active {
    pub(crate) fn start() -> Self {
        gauge!("feature_executions_active").increment(1.0);
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!("feature_executions_active").decrement(1.0);
    }
}
