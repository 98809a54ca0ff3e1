use feature_api::feature::State;
use feature_store::{Cause, Failure, Move, StepType, StoreError, Transition};
use uuid::Uuid;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_goes_through_its_states_and_tells_of_each() {
    let world = World::start().await;
    let id = world.feature().await;
    let branch = Move::forward(State::Pending).unwrap().with_branch("feature/x");
    assert!(matches!(world.store.transition(id, &branch).await.unwrap(), Transition::Moved { .. }));
    let stale = world.store.transition(id, &branch).await.unwrap();
    assert_eq!(stale, Transition::NotThere { state: State::Analyzing }, "an event seen twice finds its state already left");
    world.complete(id).await;
    let told: Vec<_> = world.events(id).await.into_iter().map(|e| (e.sequence, e.event_type, e.state, e.previous_state)).collect();
    let changed = |sequence, state| (sequence, "feature.state_changed".to_owned(), state, Some(state - 1));
    let mut expected = vec![(0, "feature.created".to_owned(), 1, None)];
    expected.extend((1..=5).map(|sequence| changed(sequence, sequence + 1)));
    assert_eq!(told, expected);
    let feature = world.store.get(id).await.unwrap();
    assert_eq!((feature.state, feature.branch.as_deref()), (State::Completed, Some("feature/x")), "a later transition keeps the branch");
    let trace = world.store.events(id, 5).await.unwrap().remove(0).trace;
    assert!(trace.parent.is_some() && trace == feature.trace, "all events belong to the feature's trace");
    assert_eq!(
        world.store.cancel(id).await.unwrap(),
        Transition::NotThere { state: State::Completed },
        "an ended feature is left as it is"
    );
    world.check_replay(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_fails_once_with_its_reason() {
    let world = World::start().await;
    let id = world.feature().await;
    world.forward(id).await;
    let run = world.store.begin_step(id, StepType::Look).await.unwrap();
    assert_eq!(run.attempt, 1);
    let failure = Failure::new(Cause::Fetch, "https://u:canary@h/p");
    let failed = Move::failed(State::Analyzing, &failure);
    let racing: Vec<_> = (0..10)
        .map(|_| {
            let (store, failed) = (world.store.clone(), failed.clone());
            tokio::spawn(async move { matches!(store.transition(id, &failed).await.unwrap(), Transition::Moved { .. }) })
        })
        .collect();
    let mut moved = 0;
    for racer in racing {
        moved += i32::from(racer.await.unwrap());
    }
    assert_eq!(moved, 1);
    let feature = world.store.get(id).await.unwrap();
    assert_eq!(feature.error.unwrap(), "the repository can't be fetched: https://***@h/p");
    let late = world.store.finish_step(id, StepType::Look, &serde_json::json!({})).await;
    assert!(matches!(late, Err(StoreError::Ended { state: State::Failed, .. })), "{late:?}");
    assert_eq!(world.store.steps(id).await.unwrap()[0].outcome, "failed", "a step that runs ends with its feature");
    world.check_replay(id).await;
    let nobody = world.store.transition(Uuid::nil(), &failed).await;
    assert!(matches!(nobody, Err(StoreError::NotFound(_))), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_meets_a_feature_that_moves() {
    let world = World::start().await;
    for _ in 0..10 {
        let id = world.feature().await;
        let (mover, canceller) = (world.store.clone(), world.store.clone());
        let moving = tokio::spawn(async move {
            let mut state = State::Pending;
            while let Some(forward) = Move::forward(state) {
                match mover.transition(id, &forward).await.unwrap() {
                    Transition::Moved { event, .. } => state = event.state(),
                    Transition::NotThere { state } => return state,
                }
            }
            state
        });
        let cancelled = tokio::spawn(async move { canceller.cancel(id).await.unwrap() }).await.unwrap();
        let end = match cancelled {
            Transition::Moved { event, .. } => event.state(),
            Transition::NotThere { state } => state,
        };
        assert_eq!(moving.await.unwrap(), end);
        assert!(matches!(end, State::Cancelled | State::Completed));
        world.check_replay(id).await;
    }
}

/// A feature's state is changed with its event, as a program that goes wrong could.
fn hand(id: Uuid, from: i32, to: i32) -> String {
    let (event, done) =
        if to == 8 { ("feature.cancelled", "now()") } else { ("feature.state_changed", if to > 5 { "now()" } else { "NULL" }) };
    format!(
        "BEGIN; UPDATE feature_executions SET state = {to}, completed_at = {done} WHERE id = '{id}';
         INSERT INTO execution_events (id, feature_execution_id, sequence, event_type, state, previous_state)
         SELECT gen_random_uuid(), '{id}', max(sequence) + 1, '{event}', {to}, {from} FROM execution_events WHERE feature_execution_id = '{id}';
         COMMIT"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_every_transition_but_the_legal_ones() {
    let world = World::start().await;
    for from in 1..=8 {
        let mut id = world.feature().await;
        for to in 1..=8 {
            let state = i32::from(world.store.state(id).await.unwrap());
            if state != from {
                id = world.feature().await;
                for step in 1..from.min(6) {
                    world.query(&hand(id, step, if step == 5 { from.max(6) } else { step + 1 })).unwrap();
                }
            }
            let legal = from < 6 && (to == from + 1 || to == 7 || to == 8);
            let tried = world.query(&hand(id, from, to));
            assert_eq!(tried.is_ok(), legal, "{from} to {to}: {tried:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_the_events_do_not_tell() {
    let world = World::start().await;
    let id = world.feature().await;
    world.forward(id).await;
    let event = |sequence: i32, event_type: &str, state: i32, previous: &str| {
        format!(
            "INSERT INTO execution_events (id, feature_execution_id, sequence, event_type, state, previous_state)
             VALUES (gen_random_uuid(), '{id}', {sequence}, '{event_type}', {state}, {previous})"
        )
    };
    for (sql, words) in [
        (format!("UPDATE feature_executions SET state = 3 WHERE id = '{id}'"), "is in state 3 without an event of it"),
        (event(3, "step.started", 2, "NULL"), "leaves a gap"),
        (event(1, "step.started", 2, "NULL"), "duplicate key"),
        (event(2, "feature.state_changed", 3, "2"), "tells of state 3, the feature is in 2"),
        (event(2, "step.started", 2, "1"), "does not follow state 2"),
        (format!("UPDATE execution_events SET state = 3 WHERE feature_execution_id = '{id}'"), "has happened"),
        (
            "INSERT INTO feature_executions (id, repository_url, instruction_ciphertext, instruction_lookup)
             VALUES (gen_random_uuid(), 'x', '', '')"
                .to_owned(),
            "is in state 1 without an event of it",
        ),
        (
            "INSERT INTO feature_executions (id, repository_url, instruction_ciphertext, instruction_lookup, state)
             VALUES (gen_random_uuid(), 'x', '', '', 2)"
                .to_owned(),
            "can't begin in state 2",
        ),
        (event(2, "step.started", 2, "NULL").replace(&id.to_string(), &Uuid::nil().to_string()), "the feature is in none"),
    ] {
        let refused = world.query(&sql).unwrap_err();
        assert!(refused.contains(words), "{sql}: {refused}");
    }
    world.query(&event(2, "step.started", 2, "NULL")).unwrap();
    world.store.cancel(id).await.unwrap();
    let after = world.query(&event(4, "step.started", 8, "NULL")).unwrap_err();
    assert!(after.contains("comes after its end"), "{after}");
}
