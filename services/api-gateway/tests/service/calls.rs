//! What passes, and what happens when the other side does not answer as it should.

use std::time::Duration;

use feature_api::feature::State;
use futures::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use service_testing::{Collector, eventually, get};

use crate::double::Double;
use crate::{open_gateway, started};

pub(crate) const CREATE: &str = "/feature.feature.v1.FeatureService/Create";
pub(crate) const WATCH: &str = "/feature.feature.v1.FeatureService/Watch";

pub(crate) async fn send(url: &str, path: &str, body: &str) -> Response {
    Client::new().post(format!("{url}{path}")).body(body.to_owned()).send().await.unwrap()
}

pub(crate) fn instruction(text: &str) -> String {
    json!({"repository_url": "https://git.example.com/a/b.git", "instruction": text}).to_string()
}

/// Checks the status, the code and a part of the message of an answer that is an error.
pub(crate) async fn check_error(response: Response, status: u16, code: &str, words: &str) {
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!((found, error["code"].as_str()), (status, Some(code)), "{text}");
    assert!(error["message"].as_str().unwrap().contains(words), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_passes_with_its_ids_and_without_what_is_the_clients_alone() {
    let double = Double::start().await;
    let (_gateway, url) = open_gateway(&double.url, &[]);
    let request = Client::new().post(format!("{url}{CREATE}")).body(instruction("x"));
    let request = request.header("x-request-id", "client-7").header("authorization", "Bearer secret").header("cookie", "a=b");
    let request = request.header("x-forwarded-for", "192.0.2.66").header("x-forwarded-user", "root").header("user-agent", "curl/8");
    let request = request.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-request-id"].to_str().unwrap()), (200, "client-7"));
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.json::<Value>().await.unwrap()["state"], "PENDING");
    let seen = &double.seen()[0].headers;
    for (name, value) in [
        ("x-request-id", Some("client-7")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some(url.trim_start_matches("http://"))),
        ("user-agent", Some("curl/8")),
        ("content-length", Some("70")),
        ("authorization", None),
        ("cookie", None),
        ("x-forwarded-user", None),
    ] {
        assert_eq!(seen.get(name).map(|value| value.to_str().unwrap()), value, "{name}");
    }
    assert!(seen["traceparent"].to_str().unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_methods_of_the_protobuf_files_pass() {
    let double = Double::start().await;
    let (_gateway, url) = open_gateway(&double.url, &[]);
    for path in [
        "/feature.feature.v1.FeatureService/Drop",
        "/feature.feature.v1.FeatureService/Create/",
        "/feature.feature.v1.FeatureService/%43reate",
        "/feature.feature.v1.FeatureService/../FeatureService/Create",
        "//feature.feature.v1.FeatureService/Create",
        "/feature.git.v1.GitService/Push",
        "/metrics",
        "/dashboard/../etc/passwd",
    ] {
        // Sent as it is: a client's library would tidy it.
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        let answer = tokio::task::block_in_place(|| service_testing::post(port, path, "{}")).unwrap();
        assert_eq!(answer.status, 404, "{path}");
    }
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let answer = tokio::task::block_in_place(|| get(port, CREATE)).unwrap();
    assert_eq!(answer.status, 405);
    assert!(double.seen().is_empty());
    let repositories = send(&url, "/feature.repository.v1.RepositoryService/List", "{}").await;
    check_error(repositories, 501, "unimplemented", "no repository-service").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_slow_or_broken_is_told_from_a_wrong_request() {
    let double = Double::start().await;
    let (gateway, url) = open_gateway(&double.url, &[("REQUEST_TIMEOUT_SECONDS", "1"), ("REPOSITORY_SERVICE_URL", "http://127.0.0.1:1")]);
    check_error(send(&url, CREATE, "{").await, 400, "invalid_argument", "not understood").await;
    check_error(send(&url, CREATE, r#"{"x": 1}"#).await, 400, "invalid_argument", "unknown field").await;
    check_error(send(&url, CREATE, &instruction("be silent")).await, 504, "deadline_exceeded", "no answer within 1 s").await;
    let full = send(&url, CREATE, &instruction("be full")).await;
    assert_eq!(full.headers()["retry-after"], "9", "what the service asks for is passed on");
    check_error(full, 429, "resource_exhausted", "too many features").await;
    let away = send(&url, "/feature.repository.v1.RepositoryService/List", "{}").await;
    assert_eq!(away.headers()["retry-after"], "2");
    check_error(away, 503, "unavailable", "can't be reached").await;
    let broken = send(&url, CREATE, &instruction("break off")).await;
    assert!(broken.text().await.is_err(), "half an answer is no answer");
    let log = gateway.log();
    assert!(log.contains("can't be reached, or broke off"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_found_its_services_stays_to_tell_that_they_are_away() {
    let (gateway, url) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = format!("http://{}", listener.local_addr().unwrap());
        let (gateway, url) = open_gateway(&there, &[]);
        tokio::task::block_in_place(|| gateway.wait_for_readiness(200)).unwrap();
        (gateway, url)
    };
    check_error(send(&url, CREATE, &instruction("x")).await, 503, "unavailable", "can't be reached").await;
    let metrics = gateway.port("metrics").unwrap();
    // Longer than an answer is given again.
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(600) {
        assert_eq!(tokio::task::block_in_place(|| get(metrics, "/readyz")).unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_at_once_for_longer_than_a_request_may_take_and_end_when_the_gateway_does() {
    let double = Double::start().await;
    let (mut gateway, url) = open_gateway(&double.url, &[("REQUEST_TIMEOUT_SECONDS", "1"), ("SHUTDOWN_GRACE_SECONDS", "20")]);
    send(&url, CREATE, &instruction("x")).await;
    let mut stream = send(&url, WATCH, "{}").await.bytes_stream();
    eventually("somebody watches", || (double.watchers() > 0).then_some(())).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for state in [State::Analyzing, State::Planning] {
        double.advance("00000001-0000-4000-8000-000000000000", state, None);
        let part = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap().unwrap();
        let text = String::from_utf8(part.to_vec()).unwrap();
        assert!(text.contains(&format!("\"state\":\"{}\"", state.as_str_name())), "{text}");
    }
    let metrics = tokio::task::block_in_place(|| get(gateway.port("metrics").unwrap(), "/metrics")).unwrap().body;
    assert!(metrics.contains("gateway_streams 1\n"), "{metrics}");
    gateway.terminate().unwrap();
    while let Some(part) = stream.next().await {
        part.unwrap();
    }
    let code = tokio::task::block_in_place(|| gateway.wait()).unwrap().code();
    assert_eq!(code, Some(0), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_behind_when_its_client_goes() {
    let double = Double::start().await;
    let (_gateway, url) = open_gateway(&double.url, &[]);
    let stream = send(&url, WATCH, "{}").await;
    eventually("somebody watches", || (double.watchers() > 0).then_some(())).unwrap();
    drop(stream);
    let told = || {
        // A stream that says nothing can't tell that nobody listens.
        double.advance("00000001-0000-4000-8000-000000000000", State::Planning, None);
        (double.watchers() == 0).then_some(())
    };
    send(&url, CREATE, &instruction("x")).await;
    tokio::task::block_in_place(|| eventually("nobody watches", told)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_and_names_of_others_are_refused() {
    let double = Double::start().await;
    let (_gateway, url) = open_gateway(&double.url, &[("ALLOWED_HOSTS", "feature.example.com")]);
    let own = url.clone();
    for (header, value, allowed) in [
        ("origin", own.as_str(), true),
        ("origin", "https://evil.example", false),
        ("sec-fetch-site", "cross-site", false),
        ("host", "feature.example.com", true),
        ("host", "evil.example", false),
    ] {
        let request = Client::new().post(format!("{url}{CREATE}")).body(instruction("x")).header(header, value);
        let answer = request.send().await.unwrap();
        if allowed {
            assert_eq!(answer.status().as_u16(), 200, "{header}: {value}");
        } else {
            check_error(answer, 403, "permission_denied", "").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_from_the_client_to_the_service() {
    let collector = tokio::task::block_in_place(Collector::start).unwrap();
    let double = Double::start().await;
    let (mut gateway, url) =
        started(&[crate::OPEN, ("FEATURE_SERVICE_URL", &double.url), ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    send(&url, CREATE, &instruction("x")).await;
    tokio::task::block_in_place(|| gateway.end_in_order()).unwrap();
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.name == format!("POST {CREATE}")).unwrap();
    let call = spans.iter().find(|span| span.name == CREATE).unwrap();
    assert_eq!((&call.trace_id, &call.parent_id), (&request.trace_id, &request.span_id));
    let expected = format!("00-{}-{}-01", call.trace_id, call.span_id);
    assert_eq!(double.seen()[0].headers["traceparent"], expected.as_str());
    tokio::task::block_in_place(|| drop(collector));
}
