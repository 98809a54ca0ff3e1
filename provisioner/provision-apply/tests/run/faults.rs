//! What goes wrong around a run: nothing is half-done, nothing is told that is secret, everything can go on.

use std::time::Duration;

use provision_apply::{Access, ApplyError, GenerationState, Progress, RunOutcome, StopReason, Verb, history, load_pending};
use provision_model::{DesiredObject, GroupKind, SecretRef};
use serde_json::json;

use crate::world::{NS, Work, World, config, config_id, deployment, deployment_id, desired, job, job_id, namespace, object, service};

fn wanted() -> provision_model::Desired {
    desired(vec![namespace(), config("a", "1"), job("migrate", "1", &[]), deployment("api", 1, &[job_id("migrate")]), service("api")])
}

async fn resumes_to_the_end(world: &World) {
    let outcome = world.resume(&wanted().scope()).await.unwrap();
    assert!(matches!(outcome, Some(RunOutcome::Done { .. })), "{outcome:?}");
    assert_eq!(world.cluster.job_runs("migrate"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_goes_away_stops_the_run_and_a_resume_ends_it() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let outage = async {
        world.until_written(&deployment_id("api")).await;
        world.cluster.disconnect(true);
    };
    let work = Work::Up(wanted());
    let (outcome, ()) = tokio::join!(world.run(&work), outage);
    let outcome = outcome.unwrap();
    assert!(matches!(&outcome, RunOutcome::Stopped { reason: StopReason::Unreachable { .. }, .. }), "{outcome:?}");
    let unreachable = world.run(&work).await;
    assert!(matches!(&unreachable, Err(error @ ApplyError::Cluster { .. }) if error.cluster().is_some()), "{unreachable:?}");
    world.cluster.disconnect(false);
    world.cluster.release(&deployment_id("api"));
    resumes_to_the_end(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_comes_back_soon_is_waited_for() {
    let world = World::new();
    world.cluster.hold(&deployment_id("api"));
    let outage = async {
        world.until_written(&deployment_id("api")).await;
        world.cluster.disconnect(true);
        let before = world.requests_like("Update Lease");
        world.until("so many heartbeats are lost that the lock lapses", |world| world.requests_like("Update Lease") > before + 20).await;
        world.cluster.disconnect(false);
        world.cluster.release(&deployment_id("api"));
    };
    let work = Work::Up(wanted());
    let (outcome, ()) = tokio::join!(world.run(&work), outage);
    let outcome = outcome.unwrap();
    assert!(matches!(&outcome, RunOutcome::Done { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_stop_the_run_and_a_resume_ends_it() {
    let world = World::new();
    world.cluster.hold(&job_id("migrate"));
    let expiry = async {
        world.until_written(&job_id("migrate")).await;
        world.cluster.expire_credentials(true);
        world.cluster.release(&job_id("migrate"));
    };
    let work = Work::Up(wanted());
    let (outcome, ()) = tokio::join!(world.run(&work), expiry);
    let outcome = outcome.unwrap();
    assert!(matches!(&outcome, RunOutcome::Stopped { .. }), "{outcome:?}");
    world.cluster.expire_credentials(false);
    resumes_to_the_end(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_refused_leaves_nothing_half_done() {
    let refusals: [fn(&World); 3] = [
        |world| {
            let right = |verb: &str| Access {
                verb: verb.to_owned(),
                group: String::new(),
                resource: "configmaps".to_owned(),
                namespace: Some(crate::world::STATE.to_owned()),
            };
            world.cluster.forbid(right("create"));
            world.cluster.forbid(right("update"));
        },
        |world| world.cluster.exhaust_quota(&GroupKind::new("", "ConfigMap"), "exceeded quota: disk full"),
        |world| world.cluster.refuse(&GroupKind::new("", "ConfigMap"), "no space left"),
    ];
    for refuse in refusals {
        let world = World::new();
        refuse(&world);
        let outcome = world.run(&Work::Up(wanted())).await;
        assert!(matches!(&outcome, Err(ApplyError::Record(_))), "{outcome:?}");
        assert_eq!(world.writes(), [""; 0]);
        world.cluster.allow_all();
        let outcome = world.run(&Work::Up(wanted())).await.unwrap();
        assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_refused_in_the_middle_stops_the_run_and_a_resume_ends_it() {
    let world = World::new();
    world.cluster.hold(&job_id("migrate"));
    let refusal = async {
        world.until_written(&job_id("migrate")).await;
        let waits = |event: &Progress| matches!(event, Progress::StepStarted { step } if step == "ready Job/feature-system/migrate");
        world.until_told("the run waits for the Job", waits).await;
        world.cluster.exhaust_quota(&GroupKind::new("", "ConfigMap"), "exceeded quota: disk full");
        world.cluster.release(&job_id("migrate"));
    };
    let work = Work::Up(wanted());
    let (outcome, ()) = tokio::join!(world.run(&work), refusal);
    let outcome = outcome.unwrap();
    let RunOutcome::Stopped { reason: StopReason::Journal { message }, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(message.contains("disk full"), "{message}");
    assert!(world.cluster.peek(&deployment_id("api")).is_none());
    world.cluster.allow_all();
    resumes_to_the_end(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_stops_between_steps_and_a_resume_ends_it() {
    let world = World::new();
    world.cluster.hold(&job_id("migrate"));
    let cx = world.cx();
    let says = |event: &Progress| matches!(event, Progress::StepProgress { step, message } if step.starts_with("ready Job") && !message.is_empty());
    let interrupt = async {
        world.until_written(&job_id("migrate")).await;
        world.until_told("what it waits for", says).await;
        let before = world.requests_like("Update Lease");
        world.until("a heartbeat passes, and with it some looks", |world| world.requests_like("Update Lease") > before).await;
        cx.cancel.cancel();
    };
    let work = Work::Up(wanted());
    let (outcome, ()) = tokio::join!(world.run_as(&cx, &work), interrupt);
    let outcome = outcome.unwrap();
    let RunOutcome::Stopped { reason: StopReason::Interrupted, failures, remaining, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(failures.is_empty() && *remaining > 0, "{outcome:?}");
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| says(event)).count(), 1, "what it waits for is told once");
    let cx = world.cx();
    assert!(load_pending(&cx, &wanted().scope()).await.unwrap().is_some());
    world.cluster.release(&job_id("migrate"));
    resumes_to_the_end(&world).await;
    let states: Vec<GenerationState> = history(&cx, &wanted().scope()).await.unwrap().iter().map(|generation| generation.state).collect();
    assert_eq!(states, [GenerationState::Done]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_refuses_is_named_and_the_next_run_repairs_it() {
    let world = World::new();
    world.cluster.refuse(&GroupKind::new("apps", "Deployment"), "image registry.local is not allowed");
    let outcome = world.run(&Work::Up(wanted())).await.unwrap();
    let RunOutcome::Failed { failures, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(failures[0].verdict.cause, Some(provision_model::Cause::Admission));
    assert!(failures[0].verdict.message.contains("not allowed"), "{failures:?}");
    world.cluster.allow_all();
    let outcome = world.run(&Work::Up(wanted())).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(world.cluster.job_runs("migrate"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_wish_takes_over_what_a_killed_run_registered() {
    let world = World::new();
    world.cluster.hold(&job_id("migrate"));
    let killed = tokio::time::timeout(Duration::from_secs(20), world.run(&Work::Up(wanted()))).await;
    assert!(killed.is_err());
    let other = desired(vec![namespace(), config("b", "1")]);
    let outcome = world.run(&Work::Up(other.clone())).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    for gone in [config_id("a"), job_id("migrate"), service("api").id()] {
        assert!(world.cluster.peek(&gone).is_none(), "{gone}");
    }
    let states: Vec<GenerationState> =
        history(&world.cx(), &other.scope()).await.unwrap().iter().map(|generation| generation.state).collect();
    assert_eq!(states, [GenerationState::Superseded, GenerationState::Done]);
}

/// A Secret with a value of its own under each key.
fn secret(name: &str, keys: &[&str]) -> DesiredObject {
    let data: serde_json::Map<String, serde_json::Value> = keys
        .iter()
        .map(|key| {
            let reference = SecretRef { path: name.to_owned(), property: (*key).to_owned(), version: None };
            ((*key).to_owned(), reference.to_value())
        })
        .collect();
    object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NS}, "data": data}), &[])
}

#[tokio::test(start_paused = true)]
async fn no_secret_value_leaves_a_run() {
    use base64::Engine as _;
    let world = World::new();
    let values = ["canary-p\"ss/w+rd-1", "canary=plain&2", "canary-ключ-3"];
    for (number, value) in values.iter().enumerate() {
        world.secrets.put("database", &format!("k{number}"), value);
    }
    let with = |version: &str| {
        desired(vec![namespace(), secret("database", &["k0", "k1", "k2"]), job("migrate", version, &[]), config("a", version)])
    };
    let mut told = String::new();
    let outcome = world.run(&Work::Up(with("1"))).await.unwrap();
    told.push_str(&format!("{outcome:?}{}", serde_json::to_string(&outcome).unwrap()));
    // A value that changes, and a server that repeats what it was sent.
    world.secrets.put("database", "k0", "canary-new-value-4");
    let cx = world.cx();
    let (plan, observed) = world.plan(&cx, &with("1")).await.unwrap();
    told.push_str(&serde_json::to_string(&plan).unwrap());
    told.push_str(&serde_json::to_string(&observed).unwrap());
    assert!(told.contains("fp:"), "the plan shows fingerprints");
    let quoted = base64::engine::general_purpose::STANDARD.encode(values[1]);
    world.cluster.refuse(&GroupKind::new("", "Secret"), &format!("bad value {} ({quoted})", values[0]));
    let refused = world.run(&Work::Up(with("2"))).await;
    told.push_str(&format!("{refused:?}"));
    world.cluster.allow_all();
    told.push_str(&format!("{:?}", world.run(&Work::Up(with("2"))).await));
    told.push_str(&format!("{:?}", provision_apply::status(&world.cx(), &with("2").scope()).await));
    told.push_str(&serde_json::to_string(&*world.events.lock().unwrap()).unwrap());
    told.push_str(&world.record_text());
    let live = world.cluster.peek(&secret("database", &[]).id()).unwrap();
    assert!(live.value().to_string().contains(&quoted), "the Secret itself has the value");
    for value in values.iter().chain(&["canary-new-value-4"]) {
        let json = serde_json::Value::from(*value).to_string();
        let forms = [
            (*value).to_owned(),
            json.trim_matches('"').to_owned(),
            base64::engine::general_purpose::STANDARD.encode(value),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value),
            value.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        ];
        for form in forms {
            assert!(!told.contains(&form), "`{form}` was told");
        }
    }
    assert!(world.cluster.request_log().iter().any(|request| request.verb == Verb::Apply));
}
