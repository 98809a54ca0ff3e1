//! Workers as processes: real PostgreSQL, the real protocol of the bus, faults of every kind, effects counted by step.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod bus;
mod doubles;
mod keep;
mod platform;

use std::time::Duration;

use feature_api::feature::State;
use feature_store::replay;
use service_bus::{Publisher, Record};
use service_testing::{Service, check_refused, config_table_is_current, eventually, get};

use platform::{Platform, TRACE};

const MOVING: [State; 4] = [State::Planning, State::Executing, State::Verifying, State::Completed];

fn replays(platform: &Platform, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = platform.worker("replay", arguments, &[]);
    let code = command.wait().unwrap().code();
    (code, command.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_features_survive_a_killed_worker_and_the_bus_holds_their_events_in_order() {
    let platform = Platform::start(Duration::from_millis(20)).await;
    let first = platform.worker("first", &[], &[]);
    first.wait_for_readiness(200).unwrap();
    let features = platform.create(50).await;
    platform.until(&MOVING, 20, &[&first]).await;
    let second = platform.worker("second", &[], &[]);
    platform.until(&[State::Completed], 5, &[&first, &second]).await;
    drop(first);
    platform.until(&[State::Completed, State::Failed], 50, &[&second]).await;
    platform.assert_done_once(&features).await;

    let on_bus = wait_for_bus(&platform, features.len()).await;
    for events in on_bus.values() {
        let replayed = replay(events).unwrap_or_else(|error| panic!("{error}: {events:?}"));
        assert_eq!(replayed.state, State::Completed);
    }
    let traces = platform.doubles.outside().traces.clone();
    let strangers: Vec<&String> = traces.iter().filter(|trace| !trace.starts_with(&TRACE[..35])).collect();
    assert!(strangers.is_empty() && traces.len() >= features.len(), "the trace goes on: {strangers:?} of {}", traces.len());
    assert!(!second.log().contains("canary"), "a secret is in the log");
}

/// Reads the bus until it holds the end of each feature.
async fn wait_for_bus(platform: &Platform, count: usize) -> std::collections::BTreeMap<String, Vec<feature_api::feature::Event>> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let events = bus::events(&platform.bus).await;
        let ended = |events: &&Vec<feature_api::feature::Event>| events.iter().any(|event| event.state() == State::Completed);
        if events.values().filter(ended).count() == count {
            return events;
        }
        assert!(tokio::time::Instant::now() < deadline, "the bus does not hold the end of each feature: {}", events.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_comes_back_empty_loses_no_feature() {
    let mut platform = Platform::start(Duration::from_millis(20)).await;
    // Without a sweep: the events that are published anew must do.
    let start = |name| platform.worker(name, &[], &[("WORKER_SWEEP_IDLE_SECONDS", "3600")]);
    let workers = [start("first"), start("second")];
    let mut features = platform.create(40).await;
    platform.until(&MOVING, 10, &[&workers[0], &workers[1]]).await;
    platform.bus.die();
    features.extend(platform.create(10).await);
    platform.bus.come_back();
    platform.until(&[State::Completed, State::Failed], 50, &[&workers[0], &workers[1]]).await;
    platform.assert_done_once(&features).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bus_features_go_on_by_the_sweep() {
    let mut platform = Platform::start(Duration::from_millis(1)).await;
    platform.bus.die();
    let worker = platform.worker("first", &[], &[("WORKER_SWEEP_IDLE_SECONDS", "1")]);
    let features = platform.create(5).await;
    platform.until(&[State::Completed, State::Failed], 5, &[&worker]).await;
    platform.assert_done_once(&features).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_features_that_are_driven_at_the_same_time_and_cancelled() {
    let platform = Platform::start(Duration::from_millis(300)).await;
    let worker = platform.worker("first", &[], &[("DATABASE_POOL_SIZE", "1"), ("WORKER_CONCURRENCY", "8")]);
    let features = platform.create(16).await;
    platform.until(&MOVING, 8, &[&worker]).await;
    for feature in &features[..8] {
        platform.store.cancel(*feature).await.unwrap();
    }
    platform.until(&[State::Completed, State::Cancelled], 16, &[&worker]).await;
    assert!(!worker.log().contains("pool timed out"), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_work_and_hand_it_over() {
    let platform = Platform::start(Duration::from_millis(30)).await;
    let mut first = platform.worker("first", &[], &[]);
    let second = platform.worker("second", &[], &[]);
    let features = platform.create(30).await;
    platform.until(&MOVING, 10, &[&first, &second]).await;
    // The second one alone may have brought them so far.
    eventually("the first one has partitions", || (!first.events("partition assigned").is_empty()).then_some(())).unwrap();
    let third = platform.worker("third", &[], &[]);
    first.end_in_order().unwrap();
    platform.until(&[State::Completed, State::Failed], 30, &[&second, &third]).await;
    platform.assert_done_once(&features).await;
    assert!(!first.events("partition revoked").is_empty(), "{}", first.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_worked_on_goes_to_the_dead_letters_and_holds_nobody_up() {
    let platform = Platform::start(Duration::from_millis(1)).await;
    let worker = platform.worker("first", &[], &[]);
    let publisher = Publisher::new(platform.bus.settings());
    let nobody = "0198c0de-0000-7000-8000-000000000001";
    let unknown = format!(
        r#"{{"id": "{nobody}", "feature_execution_id": "{nobody}", "sequence": 0, "event_type": "feature.created", "state": "PENDING"}}"#
    );
    let records = [("a", "no event"), (nobody, unknown.as_str()), ("a", r#"{"state": "LOST"}"#)].map(|(key, payload)| Record {
        topic: bus::TOPIC.to_owned(),
        key: key.to_owned(),
        payload: payload.as_bytes().to_vec(),
        headers: vec![("traceparent".to_owned(), TRACE.to_owned())],
    });
    for placed in publisher.publish(&records).await {
        placed.unwrap();
    }
    let features = platform.create(3).await;
    platform.until(&[State::Completed], 3, &[&worker]).await;
    platform.assert_done_once(&features).await;
    let dead = bus::contents(&platform.bus, bus::DEAD).await;
    let mut reasons: Vec<String> = dead.iter().map(|(_, headers)| headers["dead_letter_reason"].clone()).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[2].contains("there is no feature") || reasons.iter().any(|reason| reason.contains(nobody)), "{reasons:?}");
    assert!(dead.iter().all(|(_, headers)| headers["dead_letter_source"].starts_with("feature.events/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_replay_tell_what_happened() {
    let platform = Platform::start(Duration::from_millis(1)).await;
    let worker = platform.worker("first", &[], &[]);
    let feature = platform.create(1).await[0].to_string();
    platform.until(&[State::Completed], 1, &[&worker]).await;
    let port = worker.port("metrics").unwrap();
    let lines = [
        "event_bus_consumer_lag{partition=\"0\"} 0",
        r#"feature_executions_total{state="verifying",outcome="completed"} 1"#,
        r#"feature_execution_duration_seconds_count{state="completed"} 1"#,
        "feature_executions_active 0",
        r#"feature_steps_total{type="look",outcome="completed"} 1"#,
        r#"feature_steps_total{type="artifacts",outcome="completed"} 1"#,
        r#"feature_step_duration_seconds_count{type="verify",outcome="completed"} 1"#,
        r#"event_processing_duration_seconds_count{event_type="feature.created"} 1"#,
        r#"event_processing_duration_seconds_count{event_type="step.completed"} 6"#,
    ];
    let missing = || {
        let body = get(port, "/metrics").map(|answer| answer.body).unwrap_or_default();
        lines.into_iter().filter(|line| !body.contains(line)).collect::<Vec<_>>()
    };
    let counted = eventually("all is counted", || missing().is_empty().then_some(()));
    counted.unwrap_or_else(|error| panic!("{error}: {:?}", missing()));

    let (code, text) = replays(&platform, &["replay", "--feature-id", &feature, "--from-sequence", "0"]);
    assert_eq!((code, text.contains("the database says the same")), (Some(0), true), "{text}");
    let (code, text) = replays(&platform, &["replay", &format!("--feature-id={feature}"), "--from-sequence=3", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &shown["matches"], &shown["state"]), (Some(0), &serde_json::json!(true), &serde_json::json!("COMPLETED")));
    // The database refuses to change history; so the row is given another reason than its events tell.
    let changed = sqlx::query("UPDATE feature_executions SET error = 'another' WHERE id::text = $1").bind(&feature);
    changed.execute(platform.store.pool()).await.unwrap();
    let (code, text) = replays(&platform, &["replay", "--feature-id", &feature]);
    assert_eq!((code, text.contains("\"another\" in the database")), (Some(1), true), "{text}");
    for (arguments, expected) in [
        (vec!["replay", "--feature-id", "x"], "expected a UUID"),
        (vec!["replay", "--feature-id", "0198c0de-0000-7000-8000-000000000001"], "there is no feature"),
    ] {
        let (code, text) = replays(&platform, &arguments);
        assert_eq!((code, text.contains(expected)), (Some(1), true), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_leaves_long_work_to_the_next_and_a_cancelled_feature_alone() {
    let platform = Platform::start(Duration::from_millis(1)).await;
    platform.doubles.outside().plans_hang = true;
    let mut worker = platform.worker("first", &[], &[("SHUTDOWN_GRACE_SECONDS", "6")]);
    let features = platform.create(2).await;
    let asked = || (platform.doubles.outside().asked.len() == 2).then_some(());
    eventually("both plans are begun", asked).unwrap();
    platform.store.cancel(features[0]).await.unwrap();
    eventually("the cancelled feature is left", || (!worker.events("feature left as it is").is_empty()).then_some(())).unwrap();
    worker.end_in_order().unwrap();
    platform.doubles.outside().plans_hang = false;
    let next = platform.worker("second", &[], &[]);
    platform.until(&[State::Completed], 1, &[&next]).await;
    platform.assert_done_once(&features[1..]).await;
    let cancelled = platform.store.events(features[0], 0).await.unwrap();
    assert_eq!(cancelled.last().unwrap().event.event_type, "feature.cancelled");
}

#[test]
fn without_its_configuration_it_does_not_start() {
    let log = check_refused(env!("CARGO_BIN_EXE_feature-worker"), &[], &[("DEK_LOOKUP_TOKEN", "canary-token")]).unwrap();
    for variable in ["DATABASE_URL", "EVENT_BUS_BROKERS", "GIT_SERVICE_URL", "OBJECT_STORE_ENDPOINT"] {
        assert!(log.contains(&format!("{variable} is not set")), "{log}");
    }
    assert!(log.contains("DEK_LOOKUP_TOKEN is set but malformed: expected 32 bytes in base64") && !log.contains("canary"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_while_the_database_and_the_services_answer() {
    let platform = Platform::start(Duration::from_millis(1)).await;
    let worker: Service = platform.worker("first", &[], &[]);
    worker.wait_for_readiness(200).unwrap();
    let lonely = platform.worker("second", &[], &[("GIT_SERVICE_URL", "http://127.0.0.1:1")]);
    let unready = lonely.wait_for_readiness(503).unwrap();
    assert!(unready.contains(r#""name":"git-service","ok":false"#), "{unready}");
    assert_eq!(worker.events("listening").len(), 1, "{}", worker.log());
}

#[test]
fn its_page_holds_its_configuration() {
    config_table_is_current(env!("CARGO_BIN_EXE_feature-worker"), "docs/services/feature-worker.md").unwrap();
}
