//! What somebody else makes between plan and write is not taken over unseen.

use std::time::Duration;

use provision_apply::{ApplyOptions, Failure, Fault, PodScript, RunOutcome, apply};
use provision_model::{Cause, Manifest, annotations};
use serde_json::{Value, json};

use crate::world::{NS, Work, World, config, config_id, depending, deployment, deployment_id, desired, job, job_id, namespace, object};

fn theirs(name: &str) -> Manifest {
    config(name, "theirs").manifest
}

fn check_refused(world: &World, outcome: &RunOutcome, name: &str) {
    let RunOutcome::Failed { failures, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!((failures[0].resource.clone(), failures[0].verdict.cause), (Some(config_id(name)), Some(Cause::Conflict)));
    assert!(failures[0].verdict.message.contains("made by someone else since the plan"), "{failures:?}");
    let live = world.cluster.peek(&config_id(name)).unwrap();
    assert_eq!((live.text("/data/value"), live.annotation(annotations::RELEASE)), (Some("theirs"), None));
}

#[tokio::test(start_paused = true)]
async fn what_was_made_since_the_plan_stays_and_the_next_plan_shows_it() {
    let world = World::new();
    let wanted = desired(vec![namespace(), config("a", "1"), config("b", "1")]);
    let cx = world.cx();
    let plan = world.plan(&cx, &wanted).await.unwrap().0;
    world.cluster.create_as("kubectl", &namespace().manifest).unwrap();
    world.cluster.create_as("kubectl", &theirs("a")).unwrap();
    let outcome = apply(&cx, &plan, ApplyOptions::default()).await.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    let refused: Vec<_> = failures.iter().map(|failure| failure.resource.clone().unwrap().to_string()).collect();
    assert_eq!(refused, ["Namespace/feature-system"], "the namespace is theirs too, and nothing is put into it");
    assert_eq!(world.writes(), ["Apply Namespace/feature-system"], "only that was tried");

    let again = world.plan(&cx, &wanted).await.unwrap().0;
    let adopted = again.findings.iter().filter(|finding| finding.code.0 == "adopted").count();
    assert_eq!(adopted, 2, "{:?}", again.findings);
    assert!(matches!(apply(&cx, &again, ApplyOptions::default()).await.unwrap(), RunOutcome::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn others_go_on_beside_what_was_made_since_the_plan() {
    let world = World::new();
    world.run(&Work::Up(desired(vec![namespace()]))).await.unwrap();
    let wanted = desired(vec![namespace(), config("a", "1"), config("b", "1")]);
    let cx = world.cx();
    let plan = world.plan(&cx, &wanted).await.unwrap().0;
    world.cluster.create_as("kubectl", &theirs("a")).unwrap();
    let outcome = apply(&cx, &plan, ApplyOptions::default()).await.unwrap();
    check_refused(&world, &outcome, "a");
    assert_eq!(world.cluster.peek(&config_id("b")).unwrap().text("/data/value"), Some("1"));

    world.run(&Work::Down(wanted.scope())).await.unwrap();
    assert!(world.cluster.peek(&config_id("a")).is_some(), "what was never ours is not deleted");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_during_the_run_stays() {
    let world = World::new();
    world.cluster.script_pods("api", PodScript::NeverReady { message: "not yet".to_owned() });
    let late = depending(config("late", "1"), &[deployment_id("api")]);
    let work = Work::Up(desired(vec![namespace(), deployment("api", 1, &[]), late]));
    let someone = async {
        world.until_told("the run waits", |event| matches!(event, provision_apply::Progress::StepProgress { .. })).await;
        world.cluster.create_as("kubectl", &theirs("late")).unwrap();
        world.cluster.script_pods("api", PodScript::Ready);
    };
    let (outcome, ()) = tokio::join!(world.run(&work), someone);
    check_refused(&world, &outcome.unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn only_the_mark_of_this_very_write_makes_an_object_ours() {
    let wanted = config("a", "1").manifest;
    let digest = wanted.digest();
    for (release, digest, ours) in
        [("dev", digest.as_str(), true), ("dev", config("a", "2").manifest.digest().as_str(), false), ("prod", digest.as_str(), false)]
    {
        let world = World::new();
        world.run(&Work::Up(desired(vec![namespace()]))).await.unwrap();
        let cx = world.cx();
        let plan = world.plan(&cx, &desired(vec![namespace(), config("a", "1")])).await.unwrap().0;
        let made = config("a", "0").manifest.with_annotations(&[(annotations::RELEASE, release), (annotations::DIGEST, digest)]);
        world.cluster.create_as("kubectl", &made).unwrap();
        let uid = world.cluster.peek(&config_id("a")).unwrap().uid().map(str::to_owned);
        let outcome = apply(&cx, &plan, ApplyOptions::default()).await.unwrap();
        assert_eq!(matches!(outcome, RunOutcome::Done { .. }), ours, "{release} {digest}: {outcome:?}");
        let live = world.cluster.peek(&config_id("a")).unwrap();
        assert_eq!(live.text("/data/value"), Some(if ours { "1" } else { "0" }), "{release} {digest}");
        assert_eq!(live.uid().map(str::to_owned), uid);
    }
}

/// Runs `work` in a copy of the world and returns the place of a request among those of the run.
async fn place_of(world: &World, work: &Work, request: &str) -> u64 {
    let world = world.fork();
    world.cluster.clear_fault();
    world.cluster.clear_request_log();
    world.run(work).await.unwrap();
    let log = world.cluster.request_log();
    1 + log.iter().position(|logged| logged.to_string() == request).unwrap() as u64
}

#[tokio::test(start_paused = true)]
async fn a_conflict_over_nothing_and_a_lost_answer_end_with_the_object() {
    let world = World::new();
    world.run(&Work::Up(desired(vec![namespace()]))).await.unwrap();
    let work = Work::Up(desired(vec![namespace(), config("a", "1")]));
    let place = place_of(&world, &work, &format!("Apply {}", config_id("a"))).await;
    for (fault, writes) in [(Fault::FailBefore(place, Failure::Conflict), 2), (Fault::FailAfter(place), 3)] {
        let world = world.fork();
        world.cluster.clear_request_log();
        let outcome = world.run_with_fault(&work, fault).await.unwrap().unwrap();
        assert!(matches!(outcome, RunOutcome::Done { .. }), "{fault:?}: {outcome:?}");
        assert_eq!(world.cluster.peek(&config_id("a")).unwrap().text("/data/value"), Some("1"));
        assert_eq!(world.writes(), vec![format!("Apply {}", config_id("a")); writes], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_in_place_of_a_replaced_object_stays() {
    let world = World::new();
    let wanted = |version: &str| Work::Up(desired(vec![namespace(), job("migrate", version, &[])]));
    world.run(&wanted("1")).await.unwrap();
    let hold = |live: &mut Value| live["metadata"]["finalizers"] = json!(["test.invalid/hold"]);
    world.cluster.edit_as("kubectl", None, &job_id("migrate"), hold).unwrap();
    let someone = async {
        world.until("the old one goes", |world| world.cluster.peek(&job_id("migrate")).is_some_and(|live| live.is_terminating())).await;
        world.cluster.edit_as("kubectl", None, &job_id("migrate"), |live| live["metadata"]["finalizers"] = json!([])).unwrap();
        world.cluster.create_as("kubectl", &job("migrate", "theirs", &[]).manifest).unwrap();
    };
    let work = wanted("2");
    let (outcome, ()) = tokio::join!(world.run(&work), someone);
    let outcome = outcome.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(failures[0].verdict.cause, Some(Cause::Conflict), "{failures:?}");
    assert!(failures[0].verdict.message.contains("made by someone else since the plan"), "{failures:?}");
    let live = world.cluster.peek(&job_id("migrate")).unwrap();
    assert_eq!(live.text("/spec/template/spec/containers/0/args/0"), Some("theirs"));
}

#[tokio::test(start_paused = true)]
async fn what_every_namespace_gets_belongs_to_nobody() {
    let world = World::new();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NS},
        "automountServiceAccountToken": false});
    let outcome = world.run(&Work::Up(desired(vec![namespace(), object(account, &[])]))).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_made_costs_one_request_per_object() {
    let world = World::new();
    world.run(&Work::Up(desired(vec![namespace()]))).await.unwrap();
    let mut objects = vec![namespace()];
    objects.extend((0..300).map(|number| config(&format!("c{number}"), "1")));
    world.cluster.clear_request_log();
    let outcome = world.run(&Work::Up(desired(objects))).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(world.requests_like("Get ConfigMap/feature-system"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_anew_since_the_plan_is_neither_changed_nor_deleted() {
    for next in [vec![namespace(), config("a", "2"), config("b", "1")], vec![namespace(), config("b", "1")]] {
        let world = World::new();
        world.run(&Work::Up(desired(vec![namespace(), config("a", "1"), config("b", "1")]))).await.unwrap();
        let cx = world.cx();
        let plan = world.plan(&cx, &desired(next)).await.unwrap().0;
        world.cluster.remove(&config_id("a")).unwrap();
        world.cluster.create_as("kubectl", &theirs("a")).unwrap();
        let outcome = apply(&cx, &plan, ApplyOptions::default()).await.unwrap();
        let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
        assert_eq!((failures.len(), failures[0].verdict.cause), (1, Some(Cause::Conflict)), "{failures:?}");
        assert_eq!(world.cluster.peek(&config_id("a")).unwrap().text("/data/value"), Some("theirs"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_run_of_the_release_wrote_since_the_plan_is_ours() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let late = depending(config("late", "1"), &[deployment_id("api")]);
    let killed =
        tokio::time::timeout(Duration::from_secs(20), world.run(&Work::Up(desired(vec![namespace(), deployment("api", 1, &[]), late]))))
            .await;
    assert!(killed.is_err());
    let scope = desired(Vec::new()).scope();
    let cx = world.cx();
    let pending = provision_apply::load_pending(&cx, &scope).await.unwrap().unwrap();
    let plan = world.plan(&cx, &pending.desired).await.unwrap().0;
    world.cluster.release(&deployment_id("api"));
    assert!(matches!(world.resume(&scope).await.unwrap(), Some(RunOutcome::Done { .. })));
    let second = apply(&cx, &plan, ApplyOptions::default()).await.unwrap();
    assert!(matches!(second, RunOutcome::Done { .. }), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_field_that_somebody_changed_while_no_run_was_alive_is_put_right_by_the_resume() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let wanted = desired(vec![namespace(), config("a", "1"), deployment("api", 1, &[])]);
    let killed = tokio::time::timeout(Duration::from_secs(20), world.run(&Work::Up(wanted.clone()))).await;
    assert!(killed.is_err());
    world.cluster.edit_as("kubectl", None, &config_id("a"), |live| live["data"]["value"] = json!("drifted")).unwrap();
    world.cluster.release(&deployment_id("api"));
    assert!(matches!(world.resume(&wanted.scope()).await.unwrap(), Some(RunOutcome::Done { .. })));
    assert_eq!(world.cluster.peek(&config_id("a")).unwrap().text("/data/value"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn replicas_belong_to_the_autoscaler() {
    let world = World::new();
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api", "namespace": NS},
        "spec": {"minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    let wanted = |value: &str| {
        let labelled = deployment("api", 2, &[]).manifest.with_annotations(&[("note", value)]);
        Work::Up(desired(vec![namespace(), object(labelled.into(), &[]), object(scaler.clone(), &[])]))
    };
    world.run(&wanted("1")).await.unwrap();
    world.cluster.scale(&deployment_id("api"), 5).unwrap();
    let outcome = world.run(&wanted("2")).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    let live = world.cluster.peek(&deployment_id("api")).unwrap();
    assert_eq!((live.annotation("note"), live.value()["spec"]["replicas"].as_i64()), (Some("2"), Some(5)));
}
