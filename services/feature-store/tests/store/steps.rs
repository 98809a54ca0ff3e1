use feature_store::{Cause, Failure, FeatureLock, StepType, StoreError, step_id};
use serde_json::json;
use service_testing::eventually;
use uuid::Uuid;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_begun_again_until_it_is_done_and_then_found() {
    let world = World::start().await;
    let id = world.feature().await;
    world.forward(id).await;
    let first = world.store.begin_step(id, StepType::Look).await.unwrap();
    assert_eq!((first.step_id, first.attempt, &first.output), (step_id(id, StepType::Look), 1, &None));
    world.store.fail_step(id, StepType::Look, &Failure::new(Cause::Fetch, "no route")).await.unwrap();
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
        world.store.fail_step(id, StepType::Look, &Failure::new(Cause::Fetch, "")).await,
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

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_those_of_the_step_that_is_done() {
    let world = World::start().await;
    let id = world.feature().await;
    world.store.begin_step(id, StepType::Artifacts).await.unwrap();
    assert_eq!(world.store.get(id).await.unwrap().artifacts, []);
    let output = json!({"artifacts": [{"key": "k", "sha256": "s"}, {"other": 1}]});
    world.store.finish_step(id, StepType::Artifacts, &output).await.unwrap();
    let artifacts = world.store.get(id).await.unwrap().artifacts;
    assert_eq!(artifacts.iter().map(|a| (a.key.as_str(), a.sha256.as_str())).collect::<Vec<_>>(), [("k", "s")]);
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
