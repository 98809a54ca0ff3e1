//! Figures of features: those that ended here, and those that do not move.

use std::time::Duration;

use feature_api::feature::State;
use feature_store::{Store, Transition};
use metrics::{counter, gauge, histogram};
use service_kit::{BoxError, Lifecycle};

/// How long a feature may stand still before it counts as stuck.
const STUCK: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_secs(15);
const RUNNING: [State; 5] = [State::Pending, State::Analyzing, State::Planning, State::Executing, State::Verifying];

/// Counts a feature that was cancelled; others end elsewhere.
pub(crate) fn count_cancelled(transition: &Transition) {
    let Transition::Moved { event, age } = transition else { return };
    let from = label(event.event.previous_state());
    counter!("feature_executions_total", "state" => from, "outcome" => "cancelled").increment(1);
    histogram!("feature_execution_duration_seconds", "state" => "cancelled").record(age.as_secs_f64());
}

/// Counts the features that do not move, now and then, until the service stops.
pub(crate) async fn count_stuck(store: Store, lifecycle: Lifecycle) -> Result<(), BoxError> {
    let count = async {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            period.tick().await;
            match store.stuck(STUCK).await {
                Ok(counts) => set(&counts),
                Err(error) => tracing::debug!(error = service_kit::words(&error), "stuck features were not counted"),
            }
        }
    };
    tokio::select! {
        () = count => {}
        () = lifecycle.stopping() => {}
    }
    Ok(())
}

fn set(counts: &[(State, i64)]) {
    for state in RUNNING {
        let count = counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
        gauge!("feature_executions_stuck", "state" => label(state)).set(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

fn label(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Pending => "pending",
        State::Analyzing => "analyzing",
        State::Planning => "planning",
        State::Executing => "executing",
        State::Verifying => "verifying",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}
