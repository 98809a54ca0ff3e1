//! The platform with a real Kafka broker as its event bus, which keeps what it was told over a kill.

use std::time::Duration;

use machine::{Ended, Machine, kill_hard, until};
use serde_json::{Value, json};

const IMAGE: &str = "images.local-bus.image=provision.local/local-kafka";
/// As docs/what-runs-where.md has it; `MORE` is where further variables go.
const SETTINGS: &str = "services.event-bus={
  env: {KAFKA_DATA: /var/lib/kafka MORE}, resources: {limits: {memory: 1Gi}}, grace_seconds: 30,
  probes: {startup: {path: /readyz, port: metrics, period_seconds: 1, failure_threshold: 120}},
  volumes: [{name: data, kind: claim_template, mount_path: /var/lib/kafka, size: 10Gi}]}";

/// Brings up an environment that asks for Kafka, with further variables for it.
fn up(machine: &Machine, more: &str, timeout: &str) -> Ended {
    let settings = SETTINGS.replace(" MORE", more);
    machine.provision(&["up", "--yes", "--timeout", timeout, "--set", IMAGE, "--set", &settings])
}

/// Finds the broker: the Java of this platform.
fn broker(machine: &Machine) -> Option<i32> {
    let process = machine.all_processes().into_iter().find(|process| process.contains(" kafka.Kafka "))?;
    process.split(' ').next()?.parse().ok()
}

/// Tells which sequences of a feature's events the bus has, each where it came first.
async fn told(machine: &Machine, id: &str) -> Vec<i64> {
    let mut first = Vec::new();
    for sequence in machine.events_on_the_bus().await.get(id).into_iter().flatten().filter_map(|event| event["sequence"].as_i64()) {
        if !first.contains(&sequence) {
            first.push(sequence);
        }
    }
    first
}

async fn recorded(machine: &Machine, gateway: &str, id: &str) -> Vec<i64> {
    let (_, timeline) = machine.call(gateway, "Timeline", &json!({"id": id})).await.unwrap();
    (0..).take(timeline["events"].as_array().map_or(0, Vec::len)).collect()
}

/// Waits until the bus has all of a feature's events, in order.
async fn complete(machine: &Machine, gateway: &str, id: &str) {
    let expected = recorded(machine, gateway, id).await;
    assert!(expected.len() > 10, "{expected:?}");
    until("the bus tells all", async || (told(machine, id).await == expected).then_some(())).await;
}

fn reason(told: &Value) -> &str {
    told["error"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_keeps_its_log_and_no_event_is_missing() {
    let machine = Machine::empty();
    let ended = up(&machine, "", "300s");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let before = machine.send(&gateway, &repository, "before").await;
    let ended = machine.ended(&gateway, std::slice::from_ref(&before), Duration::from_secs(120)).await;
    assert_eq!(ended[0].state, "COMPLETED", "{}", reason(&ended[0].told));
    complete(&machine, &gateway, &before).await;

    let during = machine.send(&gateway, &repository, "during").await;
    until("it is under way", async || machine.feature(&gateway, &during).await.filter(|feature| feature.state != "PENDING")).await;
    let killed = broker(&machine).unwrap();
    kill_hard(killed);
    let after = machine.send(&gateway, &repository, "after").await;
    let ids = [during, after];
    for feature in machine.ended(&gateway, &ids, Duration::from_secs(300)).await {
        assert_eq!(feature.state, "COMPLETED", "{}", reason(&feature.told));
    }
    // Features end without it; the bus is asked when it is back.
    until("all is ready again", async || (machine.provision(&["status"]).code == Some(0)).then_some(())).await;
    assert!(broker(&machine).is_some_and(|pid| pid != killed), "another broker serves the log");
    for id in ids.iter().chain([&before]) {
        complete(&machine, &gateway, id).await;
    }
}

#[test]
fn what_is_missing_for_a_broker_is_said_with_the_next_step() {
    let machine = Machine::empty();
    let ended = up(&machine, ", KAFKA_JARS: /nowhere", "30s");
    let said = format!("{}\n{}", ended.stdout, ended.stderr);
    assert_ne!(ended.code, Some(0), "{said}");
    assert!(said.contains("Kafka is not installed") && said.contains("tests/kafka.sh"), "{said}");
}
