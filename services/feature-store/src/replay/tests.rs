use proptest::prelude::*;

use super::*;

fn event(sequence: i32, event_type: &str, state: i32, previous: Option<i32>) -> Event {
    Event {
        feature_execution_id: "f".to_owned(),
        sequence,
        event_type: event_type.to_owned(),
        state,
        previous_state: previous,
        ..Event::default()
    }
}

fn created() -> Event {
    event(0, "feature.created", 1, None)
}

fn changed(sequence: i32, from: i32, to: i32) -> Event {
    let event_type = if to == 8 { "feature.cancelled" } else { "feature.state_changed" };
    Event { error: (to == 7).then(|| "why".to_owned()), ..event(sequence, event_type, to, Some(from)) }
}

fn step(sequence: i32, what: &str, state: i32) -> Event {
    Event { step_type: Some("look".to_owned()), ..event(sequence, what, state, None) }
}

#[test]
fn events_tell_what_a_feature_is() {
    let events =
        [created(), changed(1, 1, 2), step(2, "step.started", 2), step(3, "step.failed", 2), step(4, "step.started", 2), changed(5, 2, 7)];
    let replayed = replay(&events).unwrap();
    assert_eq!((replayed.state, replayed.sequence, replayed.error.as_deref()), (State::Failed, 5, Some("why")));
    assert_eq!(replayed.steps, BTreeMap::from([("look".to_owned(), StepOutcome::Failed)]), "a running step ends with its feature");
    assert_eq!(replay(&events[2..]).unwrap(), replayed, "from any event on");
}

#[test]
fn events_that_cannot_have_happened_are_refused() {
    use ReplayError::*;
    let refused = |events: &[Event]| replay(events).unwrap_err();
    assert_eq!(refused(&[]), Empty);
    assert_eq!(refused(&[created(), changed(2, 1, 2)]), Order { expected: 1, found: 2 });
    assert_eq!(refused(&[created(), created()]), Order { expected: 1, found: 0 });
    let other = Event { feature_execution_id: "g".to_owned(), ..changed(1, 1, 2) };
    assert_eq!(refused(&[created(), other]), OtherFeature { sequence: 1, feature: "g".to_owned() });
    for (before, next) in [
        (created(), changed(1, 1, 3)),
        (created(), changed(1, 2, 2)),
        (created(), event(1, "feature.created", 1, None)),
        (created(), event(1, "feature.state_changed", 1, None)),
        (created(), event(1, "feature.state_changed", 2, None)),
        (created(), event(1, "feature.state_changed", 8, Some(1))),
        (created(), event(1, "feature.cancelled", 7, Some(1))),
        (created(), step(1, "step.started", 2)),
        (changed(4, 5, 6), changed(5, 6, 7)),
        (changed(4, 5, 8), step(5, "step.completed", 8)),
    ] {
        assert!(matches!(refused(&[before.clone(), next.clone()]), Illegal { .. }), "{before:?} {next:?}");
    }
    assert!(matches!(refused(&[event(0, "feature.state_changed", 2, Some(1))]), Illegal { .. }));
    assert!(matches!(refused(&[event(3, "feature.created", 1, None)]), Illegal { .. }));
}

/// What can be done to a feature: begin a step, end one, one forward, fail, cancel.
fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(0_u8..8, 0..30).prop_map(|choices| {
        let (mut events, mut state) = (vec![created()], 1);
        for choice in choices {
            if state >= 6 {
                break;
            }
            let sequence = i32::try_from(events.len()).unwrap();
            let to = match choice {
                0..=2 => state + 1,
                3 => 7,
                4 => 8,
                _ => state,
            };
            let steps = ["step.started", "step.failed", "step.completed"];
            events.push(if to == state { step(sequence, steps[usize::from(choice) - 5], state) } else { changed(sequence, state, to) });
            state = to;
        }
        events
    })
}

proptest! {
    #[test]
    fn whatever_happened_can_be_replayed_and_nothing_can_be_left_out(events in history(), at in any::<prop::sample::Index>()) {
        let whole = replay(&events).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(whole.state, events[events.len() - 1].state());
        let at = at.index(events.len());
        prop_assert_eq!(replay(&events[at..]).map(|replayed| replayed.state), Ok(whole.state));
        let mut gap = events.clone();
        gap.remove(at);
        // Without its first or last event the rest is still a piece of a history.
        if at > 0 && at < events.len() - 1 {
            prop_assert!(replay(&gap).is_err());
        }
        let mut twice = events.clone();
        twice.insert(at, events[at].clone());
        prop_assert!(replay(&twice).is_err());
    }
}
