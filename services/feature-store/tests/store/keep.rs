use std::time::Duration;

use feature_api::feature::State;
use feature_store::{Chore, ChoreLock, StepType, StoreError};
use serde_json::json;

use crate::world::World;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn old_features_that_ended_move_to_the_archive_and_stay_readable() {
    let world = World::start().await;
    let (mut old, running) = (Vec::new(), world.feature().await);
    for _ in 0..5 {
        let id = world.feature().await;
        world.complete(id).await;
        old.push(id);
    }
    let recent = world.feature().await;
    world.store.cancel(recent).await.unwrap();
    let age =
        format!("UPDATE feature_executions SET completed_at = completed_at - interval '91 days' WHERE state = 6 AND id <> '{recent}'");
    world.query(&age).unwrap();
    let before = world.store.get(old[0]).await.unwrap();
    let (a, b) = tokio::join!(world.store.archive(90 * DAY, 2), world.store.archive(90 * DAY, 2));
    assert_eq!(a.unwrap() + b.unwrap(), 4, "two at once share the work");
    assert_eq!(world.store.archive(90 * DAY, 2).await.unwrap(), 1);
    assert_eq!(world.store.archive(90 * DAY, 2).await.unwrap(), 0);
    let counts = "SELECT (SELECT count(*) FROM feature_executions), (SELECT count(*) FROM feature_executions_archive)";
    assert_eq!(world.query(counts).unwrap(), "2|5");
    assert_eq!(world.store.get(old[0]).await.unwrap(), before);
    assert_eq!(world.store.state(old[0]).await.unwrap(), State::Completed);
    world.check_replay(old[0]).await;
    assert_eq!(world.store.state(running).await.unwrap(), State::Pending);
    assert!(matches!(world.store.begin_step(old[0], StepType::Look).await, Err(StoreError::Ended { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_to_the_archive_that_is_cut_off_moves_nothing() {
    let world = World::start().await;
    let id = world.feature().await;
    world.store.cancel(id).await.unwrap();
    world.query("UPDATE feature_executions SET completed_at = completed_at - interval '91 days'").unwrap();
    world.query(&format!("INSERT INTO feature_executions_archive SELECT * FROM feature_executions WHERE id = '{id}'")).unwrap();
    assert!(world.store.archive(90 * DAY, 10).await.is_err(), "it is there already");
    let counts = "SELECT (SELECT count(*) FROM feature_executions), (SELECT count(*) FROM feature_executions_archive)";
    assert_eq!(world.query(counts).unwrap(), "1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_expire_by_their_record_or_by_age_and_never_while_their_feature_runs() {
    let world = World::start().await;
    let mut features = Vec::new();
    // Each in state VERIFYING, with its step's record, and how long ago that began.
    for (expires_in, begun_days_ago, ends) in
        [(Some(-60), 1, true), (Some(3600), 200, true), (None, 91, true), (None, 89, true), (Some(-60), 200, false), (None, 200, false)]
    {
        let id = world.feature().await;
        world.store.begin_step(id, StepType::Artifacts).await.unwrap();
        if let Some(seconds) = expires_in {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
            let output = json!({"artifacts": [{"key": "k", "sha256": "s"}], "expires_at": now + seconds});
            world.store.finish_step(id, StepType::Artifacts, &output).await.unwrap();
        }
        let age = format!("started_at = started_at - interval '{begun_days_ago} days'");
        world.query(&format!("UPDATE execution_steps SET {age} WHERE feature_execution_id = '{id}'")).unwrap();
        if ends {
            world.store.cancel(id).await.unwrap();
        }
        features.push(id);
    }
    let expired = world.store.expired_artifacts(90 * DAY, 10).await.unwrap();
    let found: Vec<_> = expired.iter().map(|expired| (expired.feature, expired.artifacts.len())).collect();
    assert_eq!(found, [(features[2], 0), (features[0], 1)], "those that ended, the oldest first");
    assert_eq!(world.store.expired_artifacts(90 * DAY, 1).await.unwrap().len(), 1);
    world.query(&format!("UPDATE feature_executions SET completed_at = now() - interval '91 days' WHERE id = '{}'", features[0])).unwrap();
    assert_eq!(world.store.archive(90 * DAY, 10).await.unwrap(), 1);
    assert_eq!(world.store.get(features[0]).await.unwrap().artifacts.len(), 1);
    for expired in world.store.expired_artifacts(90 * DAY, 10).await.unwrap() {
        world.store.forget_artifacts(expired.step).await.unwrap();
    }
    assert_eq!(world.store.get(features[0]).await.unwrap().artifacts, [], "in the archive too");
    assert_eq!(world.store.expired_artifacts(90 * DAY, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chore_is_done_by_one_at_a_time() {
    let world = World::start().await;
    let pool = world.store.pool();
    let held = ChoreLock::try_acquire(pool, Chore::Archive).await.unwrap().unwrap();
    assert!(ChoreLock::try_acquire(pool, Chore::Archive).await.unwrap().is_none());
    ChoreLock::try_acquire(pool, Chore::Artifacts).await.unwrap().unwrap().release().await.unwrap();
    held.release().await.unwrap();
    assert!(ChoreLock::try_acquire(pool, Chore::Archive).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_do_not_move_are_found_the_longest_first() {
    let world = World::start().await;
    let (first, second, ended, moving) = (world.feature().await, world.feature().await, world.feature().await, world.feature().await);
    world.forward(second).await;
    world.store.cancel(ended).await.unwrap();
    let age = |id, hours| format!("UPDATE feature_executions SET updated_at = updated_at - interval '{hours} hours' WHERE id = '{id}'");
    for (id, hours) in [(first, 2), (second, 3), (ended, 4)] {
        world.query(&age(id, hours)).unwrap();
    }
    assert_eq!(world.store.unfinished(DAY / 24, 10).await.unwrap(), [second, first]);
    assert_eq!(world.store.unfinished(DAY / 24, 1).await.unwrap(), [second]);
    let mut stuck = world.store.stuck(DAY / 24).await.unwrap();
    stuck.sort_by_key(|(state, _)| i32::from(*state));
    assert_eq!(stuck, [(State::Pending, 1), (State::Analyzing, 1)]);
    world.store.begin_step(second, StepType::Look).await.unwrap();
    assert_eq!(world.store.unfinished(DAY / 24, 10).await.unwrap(), [first], "a step is a movement");
    assert!(world.store.unfinished(Duration::ZERO, 10).await.unwrap().contains(&moving));
}
