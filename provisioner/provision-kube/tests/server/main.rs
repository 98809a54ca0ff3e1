//! Requests against an API server that is overloaded, silent, cut off or wrong.

#![cfg(test)]

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use provision_apply::{Cluster, ClusterError, WatchEvent, WriteMode};
use provision_model::{ApiResource, GroupKind, Manifest, ResourceId};
use serde_json::{Value, json};
use support::{Reply, Server, patience};

const LIST: &str = "GET /api/v1/namespaces/n/configmaps?limit=500";

fn config_maps() -> ApiResource {
    ApiResource {
        kind: GroupKind::new("", "ConfigMap"),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
        preferred: true,
        listable: true,
    }
}

fn item(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "n", "resourceVersion": "7"}})
}

fn page(names: &[&str], next: &str) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| item(name)).collect();
    Reply::json(&json!({"kind": "ConfigMapList", "metadata": {"resourceVersion": "7", "continue": next}, "items": items}))
}

fn object(kind: &str) -> Manifest {
    Manifest::try_from(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}})).unwrap()
}

fn names(items: &[Manifest]) -> Vec<&str> {
    items.iter().map(Manifest::name).collect()
}

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back() {
    let server = Server::start(|_, before| match before {
        0 => Reply::Answer(429, "Retry-After: 1\r\n", b"Too many requests, please try again later.".to_vec()),
        _ => page(&["a"], ""),
    });
    let started = Instant::now();
    let listing = server.cluster(patience(5000, 5000)).await.list(&config_maps(), Some("n")).await.unwrap();
    assert_eq!(names(&listing.items), ["a"]);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.requests(), [LIST, LIST]);
}

#[tokio::test]
async fn a_wait_beyond_the_patience_is_not_begun() {
    let server = Server::start(|_, _| Reply::Answer(503, "Retry-After: 3600\r\n", b"later".to_vec()));
    let started = Instant::now();
    let error = server.cluster(patience(5000, 5000)).await.list(&config_maps(), Some("n")).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Server { status: 503, message, .. } if message == "later"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_can_not_is_not() {
    for (code, reason, tries) in [(503, "ServiceUnavailable", 3), (500, "InternalError", 3), (403, "Forbidden", 1), (422, "Invalid", 1)] {
        let server = Server::start(move |_, before| if before < 2 { Reply::failure(code, reason) } else { page(&[], "") });
        let listed = server.cluster(patience(5000, 5000)).await.list(&config_maps(), Some("n")).await;
        assert_eq!((listed.is_ok(), server.requests().len()), (tries == 3, tries), "{reason}");
    }
}

#[tokio::test]
async fn a_connection_that_went_silent_costs_one_try() {
    let server = Server::start(|_, before| if before == 0 { Reply::Silence } else { page(&["a"], "") });
    let listing = server.cluster(patience(5000, 300)).await.list(&config_maps(), Some("n")).await.unwrap();
    assert_eq!(names(&listing.items), ["a"]);
    let silent = Server::start(|_, _| Reply::Silence);
    let error = silent.cluster(patience(500, 300)).await.list(&config_maps(), Some("n")).await.unwrap_err();
    assert!(matches!(error, ClusterError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_says_that_the_object_is_there() {
    let server = Server::start(|_, before| if before == 0 { Reply::Cut } else { Reply::failure(409, "AlreadyExists") });
    let error = server.cluster(patience(5000, 5000)).await.create(&object("ConfigMap")).await.unwrap_err();
    assert!(matches!(error, ClusterError::AlreadyExists { .. }), "{error:?}");
}

#[tokio::test]
async fn discovery_survives_a_server_that_restarts() {
    let server = Server::start_bare(|line, before| match (line, before) {
        ("GET /apis", 0) => Reply::Cut,
        _ => support::discovery(line).unwrap_or_else(|| Reply::json(&item("x"))),
    });
    let id = ResourceId::namespaced("", "ConfigMap", "n", "x");
    let found = server.cluster(patience(5000, 5000)).await.get(&id).await.unwrap().unwrap();
    assert_eq!(found.kind(), "ConfigMap");
}

#[tokio::test]
async fn pages_are_followed_to_the_last() {
    let server = Server::start(|line, _| match line {
        LIST => page(&["a", "b"], "to/ken=="),
        "GET /api/v1/namespaces/n/configmaps?limit=500&continue=to%2Fken%3D%3D" => page(&["c"], ""),
        other => panic!("{other}"),
    });
    let cluster = server.cluster(patience(1000, 1000)).await;
    let listing = cluster.list(&config_maps(), Some("n")).await.unwrap();
    assert_eq!((names(&listing.items), listing.resource_version), (vec!["a", "b", "c"], 7));
    assert_eq!(cluster.requests().lists, 2);
}

#[tokio::test]
async fn a_list_that_expires_is_begun_again_once() {
    for (expired, expected) in [(1, Some(vec!["a", "b"])), (2, None)] {
        let server = Server::start(move |line, before| match line {
            LIST => page(&["a"], "t"),
            _ if before < expired => Reply::failure(410, "Expired"),
            _ => page(&["b"], ""),
        });
        let listed = server.cluster(patience(1000, 1000)).await.list(&config_maps(), Some("n")).await;
        assert_eq!(listed.as_ref().ok().map(|listing| names(&listing.items)), expected, "{listed:?}");
        assert_eq!(server.requests().len(), 4);
    }
}

#[tokio::test]
async fn only_a_list_is_taken_for_one() {
    for (answer, items) in [(json!({"metadata": {}, "items": null}), Some(0)), (json!({"metadata": {}}), None), (json!("x"), None)] {
        let server = Server::start(move |_, _| Reply::json(&answer));
        let listed = server.cluster(patience(1000, 1000)).await.list(&config_maps(), Some("n")).await;
        assert_eq!(listed.as_ref().ok().map(|listing| listing.items.len()), items, "{listed:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_cluster_has_no_identity() {
    let server = Server::start(|_, _| Reply::json(&json!({"gitVersion": "v1.34.0"})));
    let error = server.cluster(patience(1000, 1000)).await.identity().await.unwrap_err();
    assert!(error.to_string().contains("does not answer like a Kubernetes API server"), "{error}");
}

#[tokio::test]
async fn a_log_is_read_whatever_it_holds() {
    let server = Server::start(|_, _| Reply::Answer(200, "", b"one\ntw\xffo\ncut \xe2\x82".to_vec()));
    let pod = ResourceId::namespaced("", "Pod", "n", "p");
    let lines = server.cluster(patience(1000, 1000)).await.logs(&pod, "c", true, 20).await.unwrap();
    assert_eq!(lines, ["one", "tw\u{fffd}o", "cut \u{fffd}"]);
    assert_eq!(server.requests(), ["GET /api/v1/namespaces/n/pods/p/log?container=c&previous=true&tailLines=20&limitBytes=65536"]);
}

#[tokio::test]
async fn a_service_that_sends_without_end_is_read_a_little() {
    let server = Server::start(|_, _| Reply::Endless);
    let service = ResourceId::namespaced("", "Service", "n", "s");
    let answer = server.cluster(patience(5000, 5000)).await.get_through_service(&service, "http", "/healthz").await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 512));
}

#[tokio::test]
async fn an_answer_about_a_secret_that_can_not_be_read_is_not_repeated() {
    for reply in [(200, "{\"data\": canary"), (418, "canary"), (500, "canary")] {
        let server = Server::start(move |_, _| Reply::Answer(reply.0, "", reply.1.as_bytes().to_vec()));
        let error = server.cluster(patience(0, 1000)).await.apply(&object("Secret"), WriteMode::Persist).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_watch_that_expires_starts_anew_and_tells_so() {
    let gone =
        json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}});
    let server = Server::start(move |line, before| match (line.contains("watch=true"), before) {
        (false, 0) => page(&["a", "b"], ""),
        (false, _) => page(&["b"], ""),
        (true, 0) => Reply::json(&gone),
        (true, _) => Reply::Silence,
    });
    let mut watch = server.cluster(patience(1000, 1000)).await.watch(&config_maps(), Some("n"));
    let mut told = Vec::new();
    while told.iter().filter(|event| **event == "synced").count() < 2 {
        told.push(match watch.next().await.unwrap() {
            Ok(WatchEvent::Changed(object)) => format!("changed {}", object.name()),
            Ok(WatchEvent::Deleted(object)) => format!("deleted {}", object.name()),
            Ok(WatchEvent::Synced) => "synced".to_owned(),
            Ok(WatchEvent::Restarted) => "restarted".to_owned(),
            Err(_) => "failed".to_owned(),
        });
    }
    assert_eq!(told, ["restarted", "changed a", "changed b", "synced", "failed", "restarted", "changed b", "synced"]);
    let watched = server.requests().into_iter().find(|line| line.contains("watch=true")).unwrap();
    assert!(watched.contains("timeoutSeconds=30"), "{watched}");
}
