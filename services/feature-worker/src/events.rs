//! Records of the event bus: each says where to look, the database says what is to be done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use feature_api::feature::{Event, State};
use feature_store::{StoreError, is_final};
use service_bus::{Received, Verdict};
use service_kit::words;
use uuid::Uuid;

use crate::counts;
use crate::dead_letters::DeadLetters;
use crate::drive::{Advance, Advanced, Driver};
use crate::journal::Journal;
use crate::upstreams::Upstreams;

/// Wait before a feature that somebody else is at is looked at again.
const BUSY: Duration = Duration::from_millis(500);
/// Wait before a database that can't be reached is asked again.
const UNREACHED: Duration = Duration::from_secs(1);
/// Longest wait before a record that failed is tried again.
const LONGEST: Duration = Duration::from_secs(60);

/// Takes records; clones share everything.
pub(crate) struct Events<J, U> {
    driver: Arc<Driver<J, U>>,
    dead_letters: Arc<dyn DeadLetters>,
    tries: u32,
}

impl<J, U> Clone for Events<J, U> {
    fn clone(&self) -> Self {
        Self { driver: Arc::clone(&self.driver), dead_letters: Arc::clone(&self.dead_letters), tries: self.tries }
    }
}

impl<J: Journal, U: Upstreams> Events<J, U> {
    pub(crate) fn new(driver: Arc<Driver<J, U>>, dead_letters: Arc<dyn DeadLetters>, tries: u32) -> Self {
        Self { driver, dead_letters, tries }
    }

    /// Does what a record asks for.
    pub(crate) async fn take(self, received: Received) -> Verdict {
        let (label, wanted) = match read(&received.payload) {
            Ok(event) => (counts::label(&event.event_type), wanted(&event)),
            Err(reason) => ("unknown", Err(reason)),
        };
        let (feature, state) = match wanted {
            Ok(Some(wanted)) => wanted,
            Ok(None) => {
                counts::event_processed(label, Duration::ZERO);
                return Verdict::Done;
            }
            Err(reason) => return self.bury(&received, label, &reason).await,
        };
        // The semaphore is never closed.
        let _slot = self.driver.slots.acquire().await;
        let started = Instant::now();
        match self.driver.advance(feature, Some(state)).await {
            Ok(Advance { became: Advanced::To(_) | Advanced::Nothing, worked }) => {
                // The steps' own time has its own metric, and they may take minutes.
                counts::event_processed(label, started.elapsed().saturating_sub(worked));
                Verdict::Done
            }
            // Whoever comes next is given the record of a feature that was left.
            Ok(Advance { became: Advanced::Busy | Advanced::Left(_), .. }) => Verdict::NotYet(BUSY),
            Err(error) => self.failed(&received, label, error).await,
        }
    }

    /// Waits for the database, or gives the record up after its tries.
    async fn failed(&self, received: &Received, label: &'static str, error: StoreError) -> Verdict {
        counts::event_failed(label);
        if error.is_transient() {
            tracing::warn!(error = words(&error), "the database can't be reached");
            return Verdict::NotYet(UNREACHED);
        }
        if matches!(error, StoreError::NotFound(_)) || received.attempts + 1 >= self.tries {
            return self.bury(received, label, &words(&error)).await;
        }
        tracing::warn!(error = words(&error), attempts = received.attempts, "a record could not be worked on");
        Verdict::Later(Duration::from_secs(1).saturating_mul(1 << received.attempts.min(6)).min(LONGEST))
    }

    async fn bury(&self, received: &Received, label: &'static str, reason: &str) -> Verdict {
        counts::event_failed(label);
        tracing::error!(
            partition = received.partition,
            offset = received.offset,
            reason,
            "a record can't be worked on; it goes to the dead-letter topic"
        );
        match self.dead_letters.bury(received, reason).await {
            Ok(()) => Verdict::Done,
            // Nothing is forgotten that is not written down.
            Err(error) => {
                tracing::warn!(error = words(&error), "the dead-letter topic can't be written");
                Verdict::NotYet(UNREACHED)
            }
        }
    }
}

fn read(payload: &[u8]) -> Result<Event, String> {
    serde_json::from_slice(payload).map_err(|error| format!("the value is no event: {error}"))
}

/// Returns the feature that is to be driven and the state that the event saw it in; none if the event asks for nothing.
fn wanted(event: &Event) -> Result<Option<(Uuid, State)>, String> {
    let feature = event.feature_execution_id.parse().map_err(|_| "the feature's id is no UUID".to_owned())?;
    let state = State::try_from(event.state).map_err(|_| format!("state {} is not known", event.state))?;
    let moves = matches!(event.event_type.as_str(), "feature.created" | "feature.state_changed") && !is_final(state);
    Ok(moves.then_some((feature, state)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_asks_for_the_work_of_a_feature_that_goes_on_or_for_nothing(
            payload in any::<Vec<u8>>(),
            (id, kind, state) in ("[0-9a-f-]{0,36}", "(feature|step)\\.[a-z_]{0,14}", prop_oneof!["[A-Z]{0,10}", Just("PENDING".to_owned()), Just("COMPLETED".to_owned())]),
            uuid in any::<bool>(),
        ) {
            let id = if uuid { Uuid::from_u128(9).to_string() } else { id };
            let near = format!(r#"{{"feature_execution_id": "{id}", "event_type": "{kind}", "state": "{state}"}}"#);
            for payload in [payload, near.into_bytes()] {
                if let Ok(Some((_, state))) = read(&payload).and_then(|event| wanted(&event)) {
                    prop_assert!(!is_final(state) && state != State::Unspecified);
                }
            }
        }
    }

    #[test]
    fn only_events_of_a_state_that_goes_on_ask_for_work() {
        let id = Uuid::from_u128(5);
        for (event_type, state, expected) in [
            ("feature.created", State::Pending, Some((id, State::Pending))),
            ("feature.state_changed", State::Planning, Some((id, State::Planning))),
            ("feature.state_changed", State::Failed, None),
            ("feature.cancelled", State::Cancelled, None),
            ("step.completed", State::Planning, None),
            ("something.new", State::Planning, None),
        ] {
            let event =
                Event { feature_execution_id: id.to_string(), event_type: event_type.to_owned(), state: state.into(), ..Event::default() };
            assert_eq!(wanted(&event), Ok(expected), "{event_type} {state:?}");
        }
    }

    #[test]
    fn what_is_no_event_is_told() {
        for (payload, words) in [
            ("", "the value is no event"),
            (r#"{"id": 3}"#, "the value is no event"),
            (r#"{"feature_execution_id": "x", "event_type": "feature.created", "state": "PENDING"}"#, "the feature's id is no UUID"),
            (r#"{"state": "LOST"}"#, "the value is no event"),
        ] {
            let problem = read(payload.as_bytes()).and_then(|event| wanted(&event)).unwrap_err();
            assert!(problem.contains(words), "{payload}: {problem}");
        }
    }
}
