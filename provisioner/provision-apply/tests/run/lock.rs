//! The lock of a release: one run at a time, and a killed one never stands in the way for long.

use std::time::Duration;

use provision_apply::{ApplyOptions, GenerationKind, LockMode, Progress, Refusal, RunOutcome, StopReason, Verb, apply};
use provision_model::ResourceId;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::world::{STATE, Work, World, config, depending, deployment, deployment_id, desired, namespace};

fn lease_id() -> ResourceId {
    ResourceId::namespaced("coordination.k8s.io", "Lease", STATE, "dev")
}

fn slow() -> Work {
    Work::Up(desired(vec![namespace(), deployment("api", 1, &[])]))
}

/// A world in which a run waits for a Deployment that nothing works on.
fn stuck() -> World {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    world
}

async fn until_written(world: &World) {
    world.until_written(&deployment_id("api")).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_refused_while_the_first_one_lives() {
    let world = stuck();
    let work = slow();
    let cx = world.cx();
    let first = world.run_as(&cx, &work);
    let second = async {
        until_written(&world).await;
        let other = world.cx();
        let plan = world.plan(&other, &desired(vec![namespace(), config("a", "1")])).await.unwrap().0;
        let before = Instant::now();
        let options = ApplyOptions { kind: GenerationKind::Up, lock: LockMode::Refuse, ..ApplyOptions::default() };
        let outcome = apply(&other, &plan, options).await.unwrap();
        let waited = before.elapsed();
        cx.cancel.cancel();
        (outcome, waited)
    };
    let (first, (second, waited)) = tokio::join!(first, second);
    let RunOutcome::Refused { refusal: Refusal::Locked { holder, since } } = second else { panic!("{second:?}") };
    assert!(holder.contains("ana@laptop") && holder.contains("run-1") && since.is_some(), "{holder} {since:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(matches!(first.unwrap(), RunOutcome::Stopped { reason: StopReason::Interrupted, .. }));
    assert_eq!(world.cluster.peek(&lease_id()).unwrap().text("/spec/holderIdentity"), Some(""));
}

#[tokio::test(start_paused = true)]
async fn a_second_run_waits_says_so_and_goes_on_when_the_first_one_ends() {
    let world = stuck();
    let work = slow();
    let first = world.run(&work);
    let second = async {
        until_written(&world).await;
        let free = async {
            sleep(Duration::from_secs(30)).await;
            world.cluster.release(&deployment_id("api"));
        };
        tokio::join!(world.run(&work), free).0
    };
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first.unwrap(), RunOutcome::Done { .. }));
    // What it had planned is no longer what there is to do, or it found everything done.
    let second = second.unwrap();
    assert!(matches!(second, RunOutcome::Done { .. } | RunOutcome::Refused { refusal: Refusal::Stale { .. } }), "{second:?}");
    let waited = world.events.lock().unwrap().iter().filter(|event| matches!(event, Progress::LockWaiting { .. })).count();
    assert_eq!(waited, 1);
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_is_followed_within_15_seconds() {
    let world = stuck();
    let work = slow();
    let killed = tokio::time::timeout(Duration::from_secs(60), world.run(&work)).await;
    assert!(killed.is_err());
    world.cluster.release(&deployment_id("api"));
    for mode in [LockMode::Refuse, LockMode::Wait] {
        let world = world.fork();
        let before = Instant::now();
        let cx = world.cx();
        let pending = provision_apply::load_pending(&cx, &desired(Vec::new()).scope()).await.unwrap().unwrap();
        let plan = world.plan(&cx, &pending.desired).await.unwrap().0;
        let outcome = apply(&cx, &plan, ApplyOptions { lock: mode, ..ApplyOptions::default() }).await.unwrap();
        assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
        assert!(before.elapsed() <= Duration::from_secs(15), "{mode:?}: {:?}", before.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lock_was_taken_stops() {
    let world = stuck();
    let work = slow();
    let thief = async {
        until_written(&world).await;
        world.cluster.edit_as("thief", None, &lease_id(), |lease| lease["spec"]["holderIdentity"] = Value::from("someone else")).unwrap();
    };
    let (outcome, ()) = tokio::join!(world.run(&work), thief);
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, RunOutcome::Stopped { reason: StopReason::LeaseLost { .. }, .. }), "{outcome:?}");
    assert_eq!(world.cluster.peek(&lease_id()).unwrap().text("/spec/holderIdentity"), Some("someone else"));
}

#[tokio::test(start_paused = true)]
async fn no_write_begins_while_the_lock_is_in_doubt() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let last = depending(config("last", "1"), &[deployment_id("api")]);
    let wanted = desired(vec![namespace(), deployment("api", 1, &[]), last]);
    let trouble = async {
        until_written(&world).await;
        world.cluster.forbid(provision_apply::Access {
            verb: "update".to_owned(),
            group: "coordination.k8s.io".to_owned(),
            resource: "leases".to_owned(),
            namespace: None,
        });
        sleep(Duration::from_secs(20)).await;
        world.cluster.release(&deployment_id("api"));
    };
    let work = Work::Up(wanted);
    let (outcome, ()) = tokio::join!(world.run(&work), trouble);
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, RunOutcome::Stopped { .. }), "{outcome:?}");
    assert!(!world.writes().iter().any(|write| write.contains("ConfigMap/feature-system/last")), "{:?}", world.writes());
    assert!(world.cluster.request_log().iter().any(|request| request.verb == Verb::Update));
}
