//! What comes before what, and what a failure holds back.

use std::time::Duration;

use provision_apply::{ObjectOutcome, PodScript, Progress, Refusal, RunOutcome, Verb};
use provision_model::{Cause, DesiredObject, ResourceId};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{
    NS, Work, World, config, config_id, depending, deployment, deployment_id, desired, job, job_id, namespace, object, service,
};

fn chain() -> Vec<DesiredObject> {
    let settings = depending(config("settings", "1"), &[ResourceId::cluster("", "Namespace", NS)]);
    vec![namespace(), settings, deployment("api", 1, &[config_id("settings")]), job("report", "1", &[deployment_id("api")])]
}

#[tokio::test(start_paused = true)]
async fn deletion_is_the_exact_reverse_and_waits_for_each_to_be_gone() {
    let world = World::new();
    let wanted = desired(chain());
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    let written = world.writes();
    let ids =
        ["Namespace/feature-system", "ConfigMap/feature-system/settings", "Deployment/feature-system/api", "Job/feature-system/report"];
    assert_eq!(written, ids.map(|id| format!("Apply {id}")));

    let hold = |live: &mut Value| live["metadata"]["finalizers"] = json!(["test.invalid/hold"]);
    world.cluster.edit_as("someone", None, &deployment_id("api"), hold).unwrap();
    world.cluster.clear_request_log();
    let free = async {
        while world.cluster.peek(&deployment_id("api")).is_some_and(|live| !live.is_terminating()) {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(3)).await;
        assert!(world.cluster.peek(&config_id("settings")).is_some(), "its dependency went before it was gone");
        world.cluster.edit_as("someone", None, &deployment_id("api"), |live| live["metadata"]["finalizers"] = json!([])).unwrap();
    };
    let down = Work::Down(wanted.scope());
    let (outcome, ()) = tokio::join!(world.run(&down), free);
    assert!(matches!(outcome.unwrap(), RunOutcome::Done { .. }));
    let mut reverse = ids.map(|id| format!("Delete {id}"));
    reverse.reverse();
    assert_eq!(world.writes(), reverse);
    assert_eq!(world.cluster.ours().into_iter().filter(|id| !crate::world::is_state(id)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_never_ends_is_named_and_its_object_stays_in_the_inventory() {
    let world = World::new();
    let wanted = desired(vec![namespace(), config("a", "1"), config("held", "1")]);
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    world
        .cluster
        .edit_as("someone", None, &config_id("held"), |live| live["metadata"]["finalizers"] = json!(["test.invalid/never"]))
        .unwrap();
    let less = desired(vec![namespace(), config("a", "1")]);
    let outcome = world.run(&Work::Up(less.clone())).await.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(failures[0].verdict.cause, Some(Cause::Finalizer), "{failures:?}");
    assert!(failures[0].verdict.message.contains("test.invalid/never"), "{failures:?}");
    let observed = provision_apply::observe(&world.cx(), &less.scope(), &less.objects).await.unwrap();
    assert!(observed.recorded.contains_key(&config_id("held")));
}

#[tokio::test(start_paused = true)]
async fn what_leaves_goes_last() {
    let world = World::new();
    world.run(&Work::Up(desired(vec![namespace(), config("old", "1"), deployment("api", 1, &[]), service("api")]))).await.unwrap();
    world.cluster.clear_request_log();
    let next = desired(vec![namespace(), deployment("api", 2, &[]), service("api"), config("new", "1")]);
    let outcome = world.run(&Work::Up(next)).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    let log: Vec<String> = world.cluster.request_log().iter().map(ToString::to_string).collect();
    let place = |text: &str| log.iter().rposition(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {log:?}"));
    let prune = place("Delete ConfigMap/feature-system/old");
    for before in ["Apply Deployment/feature-system/api", "Apply ConfigMap/feature-system/new", "Proxy Service/feature-system/api"] {
        assert!(place(before) < prune, "{before}: {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_with_another_template_is_replaced() {
    let world = World::new();
    let wanted = |version: &str| desired(vec![namespace(), job("migrate", version, &[]), deployment("api", 1, &[job_id("migrate")])]);
    world.run(&Work::Up(wanted("1"))).await.unwrap();
    world.cluster.clear_request_log();
    let outcome = world.run(&Work::Up(wanted("2"))).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(world.writes(), ["Delete Job/feature-system/migrate", "Apply Job/feature-system/migrate"]);
    assert_eq!(world.cluster.job_runs("migrate"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_ttl_removed_does_not_run_again() {
    let world = World::new();
    let wanted = desired(vec![namespace(), job("migrate", "1", &[])]);
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    world.cluster.remove(&job_id("migrate")).unwrap();
    let outcome = world.run(&Work::Up(wanted)).await.unwrap();
    assert!(matches!(&outcome, RunOutcome::Done { summary } if summary.generation.is_none()), "{outcome:?}");
    assert_eq!(world.cluster.job_runs("migrate"), 1);
}

#[tokio::test(start_paused = true)]
async fn independent_branches_go_on_and_all_failures_are_told_together() {
    let world = World::new();
    for name in ["bad1", "bad2"] {
        world.cluster.script_pods(name, PodScript::ImagePullBackOff { message: "manifest unknown".to_owned() });
    }
    let held = depending(config("held", "1"), &[deployment_id("bad1")]);
    let objects = vec![namespace(), deployment("bad1", 1, &[]), deployment("bad2", 1, &[]), deployment("good", 1, &[]), held];
    let wanted = desired(objects);
    let outcome = world.run(&Work::Up(wanted.clone())).await.unwrap();
    let RunOutcome::Failed { summary, failures, skipped } = &outcome else { panic!("{outcome:?}") };
    let causes: Vec<_> = failures.iter().map(|failure| (failure.resource.clone().unwrap(), failure.verdict.cause)).collect();
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes.iter().all(|(_, cause)| *cause == Some(Cause::ImagePull)), "{causes:?}");
    assert_eq!(skipped.iter().map(|skipped| skipped.resource.clone()).collect::<Vec<_>>(), [config_id("held")]);
    assert_eq!(skipped[0].because, "ready Deployment/feature-system/bad1");
    assert!(summary.elapsed < Duration::from_secs(60), "{summary:?}");
    let events = world.events.lock().unwrap();
    let good = events.iter().any(
        |event| matches!(event, Progress::Object { resource, outcome: ObjectOutcome::Done, .. } if *resource == deployment_id("good")),
    );
    assert!(good, "{events:?}");
    assert!(world.cluster.peek(&config_id("held")).is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pruned_when_something_failed() {
    let world = World::new();
    world.run(&Work::Up(desired(vec![namespace(), config("old", "1")]))).await.unwrap();
    world.cluster.script_pods("bad", PodScript::ImagePullBackOff { message: "manifest unknown".to_owned() });
    let outcome = world.run(&Work::Up(desired(vec![namespace(), deployment("bad", 1, &[])]))).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Failed { .. }), "{outcome:?}");
    assert!(world.cluster.peek(&config_id("old")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_without_an_answer_fails_the_run() {
    let world = World::new();
    world.cluster.script_answer(&service("api").id(), 503, "no database");
    let outcome = world.run(&Work::Up(desired(vec![namespace(), deployment("api", 1, &[]), service("api")]))).await.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(failures[0].verdict.cause, Some(Cause::Endpoints));
    assert!(failures[0].verdict.message.contains("503") && failures[0].verdict.message.contains("no database"), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_from_before_another_run_is_refused_before_the_first_write() {
    let world = World::new();
    let cx = world.cx();
    let wanted = desired(vec![namespace(), config("a", "1")]);
    let stale = world.plan(&cx, &wanted).await.unwrap().0;
    world.run(&Work::Up(desired(vec![namespace(), config("b", "1")]))).await.unwrap();
    world.cluster.clear_request_log();
    let outcome = provision_apply::apply(&cx, &stale, provision_apply::ApplyOptions::default()).await.unwrap();
    let RunOutcome::Refused { refusal: Refusal::Stale { planned: None, recorded: Some(1) } } = outcome else { panic!("{outcome:?}") };
    let writes = [Verb::Apply, Verb::Create, Verb::Update, Verb::Delete];
    assert!(!world.cluster.request_log().iter().any(|request| writes.contains(&request.verb)));
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_follows_its_definition_in_one_run() {
    let world = World::new();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.test.invalid"},
        "spec": {"group": "test.invalid", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}});
    let widget =
        json!({"apiVersion": "test.invalid/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": NS}, "spec": {"size": 1}});
    let wanted = desired(vec![object(widget, &[]), namespace(), object(definition, &[])]);
    let outcome = world.run(&Work::Up(wanted.clone())).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    world.cluster.clear_request_log();
    let again = world.run(&Work::Up(wanted)).await.unwrap();
    assert!(matches!(&again, RunOutcome::Done { summary } if summary.generation.is_none()), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_has_its_own_limit_and_others_go_on() {
    let world = World::new();
    let never = PodScript::NeverReady { message: "HTTP probe failed with statuscode: 503".to_owned() };
    world.cluster.script_pods("slow", never);
    let mut slow: Value = deployment("slow", 1, &[]).manifest.into();
    slow["metadata"]["annotations"] = json!({"provision.dev/timeout": "5s"});
    let wanted = desired(vec![namespace(), object(slow, &[]), deployment("good", 1, &[])]);
    let begun = tokio::time::Instant::now();
    let outcome = world.run(&Work::Up(wanted)).await.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].resource, Some(deployment_id("slow")));
    assert!(matches!(failures[0].verdict.cause, Some(Cause::Probe | Cause::Deadline)), "{failures:?}");
    assert!(failures[0].verdict.message.contains("statuscode: 503"), "{failures:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_run_stops_it_resumably() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let cx = world.cx();
    let plan = world.plan(&cx, &desired(vec![namespace(), deployment("api", 1, &[])])).await.unwrap().0;
    let options = provision_apply::ApplyOptions { timeout: Some(Duration::from_secs(7)), ..provision_apply::ApplyOptions::default() };
    let outcome = provision_apply::apply(&cx, &plan, options).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Stopped { reason: provision_apply::StopReason::TimedOut, remaining: 1, .. }), "{outcome:?}");
    world.cluster.release(&deployment_id("api"));
    assert!(matches!(world.resume(&plan.desired.scope()).await.unwrap(), Some(RunOutcome::Done { .. })));
}

#[tokio::test(start_paused = true)]
async fn down_keeps_a_namespace_that_holds_what_others_made() {
    let world = World::new();
    let wanted = desired(vec![namespace(), config("a", "1")]);
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    world.cluster.create_as("someone", &config("theirs", "1").manifest).unwrap();
    let outcome = world.run(&Work::Down(wanted.scope())).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    assert!(world.cluster.peek(&config_id("theirs")).is_some() && world.cluster.peek(&config_id("a")).is_none());
    let kept = world.cluster.peek(&ResourceId::cluster("", "Namespace", NS)).unwrap();
    assert_eq!(kept.annotation(provision_model::annotations::RELEASE), None);
    assert!(!world.cluster.ours().contains(&kept.id()));
}

#[tokio::test(start_paused = true)]
async fn ready_must_last_before_what_depends_on_it_is_written() {
    let world = World::new();
    let after = depending(config("after", "1"), &[deployment_id("api")]);
    let begun = tokio::time::Instant::now();
    world.run(&Work::Up(desired(vec![namespace(), deployment("api", 1, &[]), after]))).await.unwrap();
    assert!(begun.elapsed() >= provision_model::Policy::default().settle, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dependency_outside_of_the_set_is_looked_for_in_the_cluster() {
    let world = World::new();
    let elsewhere = ResourceId::namespaced("", "ConfigMap", "kube-system", "theirs");
    let work = Work::Up(desired(vec![namespace(), depending(config("a", "1"), &[elsewhere])]));
    let outcome = world.run(&work).await.unwrap();
    let RunOutcome::Refused { refusal: Refusal::Findings { findings } } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(findings.iter().map(|finding| finding.code.0.as_str()).collect::<Vec<_>>(), ["unknown-dependency"]);
    assert_eq!(world.writes(), [""; 0]);

    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "kube-system"}});
    world.cluster.create_as("someone", &object(theirs, &[]).manifest).unwrap();
    let outcome = world.run(&work).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
}
