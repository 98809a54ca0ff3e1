use feature_store::{Cause, Failure, Move, StepType};
use serde_json::{Value, json};
use service_testing::{config_table_is_current, eventually};
use uuid::Uuid;

use crate::world::{PROGRAM, Platform, REPOSITORY, Running, TOKENS, complete};

const STORE: [(&str, &str); 4] = [
    ("OBJECT_STORE_ENDPOINT", "http://127.0.0.1:9000"),
    ("OBJECT_STORE_BUCKET", "feature-artifacts"),
    ("AWS_ACCESS_KEY_ID", "AKID"),
    ("AWS_SECRET_ACCESS_KEY", "canary-key-7fd1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_is_taken_shown_listed_and_cancelled() {
    let platform = Platform::start();
    let (service, store) = (platform.service(&STORE), platform.store().await);
    let id = service.create().await;
    store.begin_step(id, StepType::Artifacts).await.unwrap();
    let artifacts = json!({"artifacts": [{"key": format!("{id}/change.patch"), "sha256": "ab"}]});
    store.finish_step(id, StepType::Artifacts, &artifacts).await.unwrap();
    let (status, feature) = service.call("Get", &json!({"id": id})).await;
    assert_eq!((status, &feature["state"], &feature["repository_url"]), (200, &json!("PENDING"), &json!(REPOSITORY)));
    assert!(feature.get("completed_at").is_none() && feature["created_at"].as_str().unwrap().ends_with('Z'), "{feature}");
    let url = feature["artifacts"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://127.0.0.1:9000/feature-artifacts/{id}/change.patch?")) && url.contains("X-Amz-Signature="));

    let failed = service.create().await;
    store.transition(failed, &Move::failed(feature_api::feature::State::Pending, &Failure::new(Cause::Plan, "nothing"))).await.unwrap();
    let (_, shown) = service.call("Get", &json!({"id": failed})).await;
    assert_eq!((&shown["state"], &shown["error"]), (&json!("FAILED"), &json!("there is no usable plan: nothing")));
    let (_, first) = service.call("List", &json!({"limit": 1})).await;
    let (_, second) = service.call("List", &json!({"limit": 1, "after": first["next"]})).await;
    assert_eq!([&first["features"][0]["id"], &second["features"][0]["id"]], [&json!(failed), &json!(id)]);
    assert!(second.get("next").is_none());
    let (_, only) = service.call("List", &json!({"states": ["FAILED"]})).await;
    assert_eq!(only["features"].as_array().unwrap().len(), 1);

    for _ in 0..2 {
        assert_eq!(service.call("Cancel", &json!({"id": id})).await, (200, json!({"id": id, "state": "CANCELLED"})));
    }
    assert_eq!(service.call("Cancel", &json!({"id": failed})).await.1["state"], "FAILED", "what has ended stays");
    let (_, timeline) = service.call("Timeline", &json!({"id": id})).await;
    let types: Vec<&Value> = timeline["events"].as_array().unwrap().iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, ["feature.created", "step.started", "step.completed", "feature.cancelled"]);
    assert_eq!((&timeline["steps"][0]["step_type"], &timeline["steps"][0]["outcome"]), (&json!("artifacts"), &json!("done")));
    assert!(timeline.to_string().find("change.patch").is_none(), "outputs are not shown");

    let metrics = service.metrics();
    for line in [
        "feature_executions_total{state=\"pending\",outcome=\"cancelled\"} 1\n",
        "feature_execution_duration_seconds_bucket{state=\"cancelled\",le=\"1800\"} 1\n",
        "feature_executions_stuck{state=\"executing\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_features_events_belong_to_the_trace_of_the_call_that_made_it() {
    let platform = Platform::start();
    let (service, store) = (platform.service(&[]), platform.store().await);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let headers = [("traceparent", format!("00-{trace}-b7ad6b7169203331-01")), ("tracestate", "vendor=1".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = json!({"repository_url": REPOSITORY, "instruction": "x"}).to_string();
    let answer: Value = service.client.send("Create", body, &headers).await.unwrap().json().await.unwrap();
    let id: Uuid = answer["id"].as_str().unwrap().parse().unwrap();
    complete(&store, id).await;
    for stored in store.events(id, 0).await.unwrap() {
        let parent = stored.trace.parent.unwrap();
        assert!(parent.starts_with(&format!("00-{trace}-")) && !parent.contains("b7ad6b7169203331"), "below the call's own span: {parent}");
        assert_eq!(stored.trace.state.as_deref(), Some("vendor=1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_with_one_key_get_one_feature() {
    let platform = Platform::start();
    let service = platform.service(&[]);
    let request = json!({"repository_url": REPOSITORY, "instruction": "make it blue", "idempotency_key": "k"});
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (client, request) = (service.client.clone(), request.clone());
            tokio::spawn(async move { client.call("Create", &request).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200), "{answers:?}");
    assert_eq!(platform.postgres.query("SELECT count(*) FROM feature_executions").unwrap(), "1");
    let other = json!({"repository_url": REPOSITORY, "instruction": "make it red", "idempotency_key": "k"});
    let (status, answer) = service.call("Create", &other).await;
    assert_eq!((status, &answer["code"]), (409, &json!("already_exists")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_nothing_secret_is_logged_or_kept_in_clear() {
    let platform = Platform::start();
    let service = platform.service(&STORE);
    let unknown = Uuid::nil();
    let long = "x".repeat(100_001);
    let create = |url: &str, instruction: &str| json!({"repository_url": url, "instruction": instruction});
    for (method, request, status, code) in [
        ("Create", create("file:///etc/passwd", "x"), 400, "invalid_argument"),
        ("Create", create("ext::sh -c touch", "x"), 400, "invalid_argument"),
        ("Create", create("--upload-pack=touch", "x"), 400, "invalid_argument"),
        ("Create", create("https://u:canary-url-7fd1@h/p", "x"), 400, "invalid_argument"),
        ("Create", create("http://127.0.0.1/p", "x"), 400, "invalid_argument"),
        ("Create", create(REPOSITORY, ""), 400, "invalid_argument"),
        ("Create", create(REPOSITORY, &long), 400, "invalid_argument"),
        ("Create", json!({"repository_url": REPOSITORY, "instruction": "x", "shell": "y"}), 400, "invalid_argument"),
        ("Create", json!({"repository_url": REPOSITORY, "instruction": 3}), 400, "invalid_argument"),
        ("Create", json!([]), 400, "invalid_argument"),
        ("Get", json!({"id": "1"}), 400, "invalid_argument"),
        ("Get", json!({"id": unknown}), 404, "not_found"),
        ("Cancel", json!({"id": unknown}), 404, "not_found"),
        ("Timeline", json!({"id": unknown}), 404, "not_found"),
        ("Watch", json!({"id": unknown}), 404, "not_found"),
        ("Watch", json!({"after": 1}), 400, "invalid_argument"),
        ("List", json!({"limit": 1000}), 400, "invalid_argument"),
        ("List", json!({"states": ["BROKEN"]}), 400, "invalid_argument"),
        ("Nothing", json!({}), 404, "not_found"),
    ] {
        let (got, answer) = service.call(method, &request).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{method} {request}: {answer}");
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
    for body in ["", "{", "{\"id\": \"\\u0000", &"[".repeat(100_000)] {
        let answer = service.send("Get", body).await;
        assert_eq!(answer.status().as_u16(), 400);
    }
    let large = service.send("Create", &format!("{{\"instruction\": \"{}\"}}", "x".repeat(3_000_000))).await;
    assert_eq!(large.status().as_u16(), 413);
    assert_eq!(platform.postgres.query("SELECT count(*) FROM feature_executions").unwrap(), "0");

    let secret = "canary-instruction-7fd1";
    let (status, taken) = service.call("Create", &create(REPOSITORY, secret)).await;
    assert_eq!(status, 200);
    complete(&platform.store().await, taken["id"].as_str().unwrap().parse().unwrap()).await;
    service.call("Get", &json!({"id": taken["id"]})).await;
    platform.check_bus_holds_every_event().await;
    let log = service.process.log();
    let tables = "SELECT string_agg(f::text, ''), (SELECT string_agg(e::text, '') FROM execution_events e) FROM feature_executions f";
    for text in [&log, &platform.postgres.query(tables).unwrap(), &service.metrics()] {
        for secret in ["canary", TOKENS[0].1, TOKENS[1].1, &hex::encode("canary")] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_say_so_and_go_on_afterwards() {
    let mut platform = Platform::start();
    let service = platform.service(&[]);
    let id = service.create().await;
    platform.postgres.stop().unwrap();
    let create = json!({"repository_url": REPOSITORY, "instruction": "x"});
    for (method, request) in [("Create", create), ("Get", json!({"id": id})), ("Cancel", json!({"id": id})), ("List", json!({}))] {
        let (status, answer) = service.call(method, &request).await;
        assert_eq!((status, &answer["code"]), (503, &json!("unavailable")), "{method}: {answer}");
    }
    platform.postgres.resume().unwrap();
    let answers = || platform.postgres.query("SELECT 1").ok();
    eventually("the database answers", answers).unwrap();
    assert_eq!(service.call("Get", &json!({"id": id})).await.0, 200);
    service.create().await;
    platform.check_bus_holds_every_event().await;
}

#[test]
fn its_page_has_its_configuration() {
    config_table_is_current(PROGRAM, "docs/services/feature-service.md").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_ended_long_ago_are_archived_and_still_found() {
    let platform = Platform::start();
    let store = platform.store().await;
    let settings = [("ARCHIVE_AFTER_DAYS", "30"), ("ARCHIVE_INTERVAL_SECONDS", "1")];
    let services = [platform.service(&settings), platform.service(&settings)];
    let (old, recent, running) = (services[0].create().await, services[0].create().await, services[0].create().await);
    for ended in [old, recent] {
        complete(&store, ended).await;
    }
    platform
        .postgres
        .query(&format!("UPDATE feature_executions SET completed_at = now() - interval '31 days' WHERE id = '{old}'"))
        .unwrap();
    let archived = || platform.postgres.query("SELECT id FROM feature_executions_archive").unwrap();
    eventually("the old one is archived", || (archived() == old.to_string()).then_some(())).unwrap();
    for (id, state) in [(old, "COMPLETED"), (recent, "COMPLETED"), (running, "PENDING")] {
        assert_eq!(services[0].call("Get", &json!({"id": id})).await.1["state"], state);
    }
    let count = |service: &Running| {
        let line = service.metrics().lines().find_map(|line| line.strip_prefix("features_archived_total ").map(str::to_owned));
        line.unwrap().parse::<u32>().unwrap()
    };
    eventually("it is counted once", || (services.iter().map(count).sum::<u32>() == 1).then_some(())).unwrap();
    let told: usize = services.iter().map(|service| service.process.events("features that ended long ago are in the archive").len()).sum();
    assert_eq!(told, 1);
}

#[test]
fn an_event_topic_with_another_number_of_partitions_than_configured_is_told() {
    let platform = Platform::start();
    let service = platform.service(&[("EVENT_BUS_PARTITION_COUNT", "16")]);
    let told = || service.process.events("the topic has another number of partitions than configured").pop();
    let event = eventually("the topic is looked at", told).unwrap();
    assert_eq!((&event["topic"], &event["partitions"], &event["wanted"]), (&json!("feature.events"), &json!(8), &json!(16)));
}
