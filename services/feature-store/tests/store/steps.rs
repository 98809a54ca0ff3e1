use feature_api::feature::State;
use feature_store::{Cause, Failure, FeatureLock, Move, StepType, StoreError, Transition, step_id};
use serde_json::json;
use service_testing::eventually;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::world::{World, store_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_begun_again_until_it_is_done_and_then_found() {
    let world = World::start().await;
    let id = world.feature().await;
    world.forward(id).await;
    let first = world.store.begin_step(id, StepType::Look).await.unwrap();
    assert_eq!((first.step_id, first.attempt, &first.output), (step_id(id, StepType::Look), 1, &None));
    world.store.fail_step(id, StepType::Look, &Failure::new(Cause::Fetch, "no route"), None).await.unwrap();
    let second = world.store.begin_step(id, StepType::Look).await.unwrap();
    assert_eq!((second.attempt, &second.started_at), (2, &first.started_at), "the first time stays: commits are made of it");
    // As after a crash: it was begun and not ended.
    assert_eq!(world.store.begin_step(id, StepType::Look).await.unwrap().attempt, 3);
    let output = json!({"head": "1", "z": [1.5, null], "a": {}});
    world.store.finish_step(id, StepType::Look, &output).await.unwrap();
    let found = world.store.begin_step(id, StepType::Look).await.unwrap();
    assert_eq!((found.attempt, found.output), (3, Some(output.clone())));
    for late in [
        world.store.finish_step(id, StepType::Look, &output).await,
        world.store.fail_step(id, StepType::Look, &Failure::new(Cause::Fetch, ""), None).await,
        world.store.finish_step(id, StepType::Push, &output).await,
    ] {
        assert!(matches!(late, Err(StoreError::NotRunning { .. })), "{late:?}");
    }
    world.store.begin_step(id, StepType::Plan).await.unwrap();
    world.store.tell_clone_failed(id, &Failure::new(Cause::Fetch, "")).await.unwrap();
    let steps = world.store.steps(id).await.unwrap();
    let kept: Vec<_> =
        steps.iter().map(|s| (s.sequence, s.step_type.as_str(), s.outcome.as_str(), s.attempts, s.error.is_some())).collect();
    assert_eq!(kept, [(0, "look", "done", 3, false), (1, "plan", "running", 1, false)]);
    let told: Vec<_> = world.events(id).await.into_iter().skip(2).map(|e| (e.sequence, e.event_type, e.step_type, e.error)).collect();
    let step = |sequence, event: &str, step: &str, error: Option<&str>| {
        (sequence, event.to_owned(), Some(step.to_owned()), error.map(str::to_owned))
    };
    let fetch = "the repository can't be fetched";
    assert_eq!(
        told,
        [
            step(2, "step.started", "look", None),
            step(3, "step.failed", "look", Some(&format!("{fetch}: no route"))),
            step(4, "step.started", "look", None),
            step(5, "step.started", "look", None),
            step(6, "step.completed", "look", None),
            step(7, "step.started", "plan", None),
            (8, "repository.clone.failed".to_owned(), None, Some(fetch.to_owned())),
        ]
    );
    world.check_replay(id).await;
    assert!(matches!(world.store.begin_step(Uuid::nil(), StepType::Look).await, Err(StoreError::NotFound(_))));
}

async fn artifacts(world: &World, feature: Uuid) -> Vec<String> {
    let artifacts = world.store.get(feature).await.unwrap().artifacts;
    artifacts.into_iter().map(|artifact| format!("{} {}", artifact.key, artifact.sha256)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_those_of_the_step_that_is_done_or_of_the_verification_that_failed() {
    let world = World::start().await;
    let id = world.feature().await;
    let output = |sha256: &str| json!({"artifacts": [{"key": "k", "sha256": sha256}, {"other": 1}]});
    world.store.begin_step(id, StepType::Verify).await.unwrap();
    let failure = Failure::new(Cause::Verification { exit_code: 1 }, "");
    world.store.fail_step(id, StepType::Verify, &failure, Some(&output("failed"))).await.unwrap();
    assert_eq!(artifacts(&world, id).await, ["k failed"]);
    let again = world.store.begin_step(id, StepType::Verify).await.unwrap();
    assert_eq!((again.attempt, again.output), (2, None), "what a failed one left is not what it came to");
    assert_eq!(artifacts(&world, id).await, Vec::<String>::new());
    world.store.fail_step(id, StepType::Verify, &failure, None).await.unwrap();
    assert_eq!(artifacts(&world, id).await, Vec::<String>::new());
    world.store.begin_step(id, StepType::Artifacts).await.unwrap();
    assert_eq!(artifacts(&world, id).await, Vec::<String>::new());
    world.store.finish_step(id, StepType::Artifacts, &output("done")).await.unwrap();
    assert_eq!(artifacts(&world, id).await, ["k done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_works_on_a_feature_and_its_right_ends_with_its_connection() {
    let world = World::start().await;
    let pool = world.store.pool().clone();
    let (a, b) = (world.feature().await, world.feature().await);
    let mut held = FeatureLock::try_acquire(&pool, a).await.unwrap().unwrap();
    assert!(held.is_held().await);
    assert!(FeatureLock::try_acquire(&pool, a).await.unwrap().is_none());
    let other = FeatureLock::try_acquire(&pool, b).await.unwrap().unwrap();
    other.release().await.unwrap();
    let again = FeatureLock::try_acquire(&pool, b).await.unwrap().unwrap();
    drop(again);
    let locks = || world.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
    eventually("a dropped lock is given back", || (locks() == "1").then_some(())).unwrap();
    world.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
    assert!(!held.is_held().await, "who has lost it learns so");
    assert!(FeatureLock::try_acquire(&pool, a).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_holds_a_connection_while_it_waits_for_another() {
    let world = World::start().await;
    let options = (*world.store.pool().connect_options()).clone();
    let store = store_on(PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap());
    let id = world.feature().await;
    let lock = FeatureLock::try_acquire(store.pool(), id).await.unwrap().unwrap();
    store.begin_step(id, StepType::Look).await.unwrap();
    assert!(matches!(store.cancel(id).await.unwrap(), Transition::Moved { .. }));
    let failure = Failure::new(Cause::Fetch, "no route");
    for late in [
        store.begin_step(id, StepType::Plan).await.map(drop),
        store.finish_step(id, StepType::Look, &json!({})).await.map(drop),
        store.fail_step(id, StepType::Look, &failure, None).await.map(drop),
        store.tell_clone_failed(id, &failure).await.map(drop),
    ] {
        assert!(matches!(late, Err(StoreError::Ended { state: State::Cancelled, .. })), "{late:?}");
    }
    let moved = store.transition(id, &Move::forward(State::Pending).unwrap()).await.unwrap();
    assert!(matches!(moved, Transition::NotThere { state: State::Cancelled }), "{moved:?}");
    lock.release().await.unwrap();
}
