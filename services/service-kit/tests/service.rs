//! The smallest service as a process: health, metrics, request ids, panics, signals, arguments.

#![cfg(test)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use service_testing::{Answer, Collector, Connection, Service, check_refused, eventually, get};

fn program() -> PathBuf {
    // Cargo builds examples beside the tests: target/debug/{deps/<this>,examples/minimal}.
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join("examples/minimal");
    assert!(program.is_file(), "{} is not built; run `cargo test -p service-kit`", program.display());
    program
}

fn start(variables: &[(&str, &str)]) -> Service {
    Service::start(program(), &[], variables).unwrap()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut service = Service::start(program(), arguments, variables).unwrap();
    let code = service.wait().unwrap().code();
    (code, service.log())
}

fn ready(port: u16) -> Answer {
    get(port, "/readyz").unwrap()
}

#[test]
fn health_and_metrics_are_served_on_both_ports() {
    let service = start(&[]);
    let (http, metrics) = (service.port("http").unwrap(), service.port("metrics").unwrap());
    for port in [http, metrics] {
        assert_eq!(get(port, "/healthz").unwrap().body, r#"{"status":"alive"}"#);
        assert_eq!((ready(port).status, ready(port).body.as_str()), (200, r#"{"status":"ready","checks":[]}"#));
        assert_eq!(get(port, "/nowhere").unwrap().status, 404);
    }
    assert_eq!(get(http, "/metrics").unwrap().status, 404, "metrics are not for clients");
    get(http, "/slow/1").unwrap();
    let text = get(metrics, "/metrics").unwrap();
    assert!(text.head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    for line in [
        "service_ready 1\n",
        "service_build_info{service=\"minimal\",version=\"1.2.3\"} 1\n",
        "http_requests_total{method=\"GET\",route=\"/slow/{milliseconds}\",status=\"200\"} 1\n",
        "http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"}",
        "http_request_duration_seconds_bucket{route=\"/slow/{milliseconds}\",status=\"200\",le=\"60\"} 1\n",
        "process_start_time_seconds ",
        "process_uptime_seconds ",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes ",
        "process_open_fds ",
        "http_requests_in_flight 0\n",
    ] {
        assert!(text.body.contains(line), "{line:?} is missing in\n{}", text.body);
    }
}

#[test]
fn requests_keep_a_plain_id_and_get_one_otherwise() {
    let service = start(&[]);
    let port = service.port("http").unwrap();
    let id = |headers: &str| {
        let answer = Connection::get(port, "/slow/1", headers).unwrap().answer().unwrap();
        let line = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: ").map(str::to_owned));
        line.unwrap()
    };
    assert_eq!(id("x-request-id: client-7.a\r\n"), "client-7.a");
    assert_eq!(id("").len(), 36);
    assert_eq!(id("x-request-id: a b\"}{\r\n").len(), 36, "what could disturb a log is replaced");
    assert_eq!(id(&format!("x-request-id: {}\r\n", "x".repeat(4000))).len(), 36);
    eventually("the log has the id", || service.log().contains("client-7.a").then_some(())).unwrap();
}

#[test]
fn a_panic_is_answered_counted_and_logged() {
    let service = start(&[]);
    let port = service.port("http").unwrap();
    let answer = get(port, "/items/1").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (500, r#"{"code":"internal","message":"the request met a bug"}"#));
    assert_eq!(get(port, "/slow/1").unwrap().status, 200, "the service goes on");
    let metrics = get(service.port("metrics").unwrap(), "/metrics").unwrap().body;
    assert!(metrics.contains("http_panics_total 1\n"), "{metrics}");
    let events = eventually("the panic is logged", || Some(service.events("panicked")).filter(|events| !events.is_empty())).unwrap();
    assert!(events[0]["place"].as_str().unwrap().contains("minimal.rs:"), "{}", events[0]);
}

#[test]
fn a_signal_drains_the_request_that_runs() {
    let mut service = start(&[("SHUTDOWN_LAME_DUCK_SECONDS", "1"), ("SHUTDOWN_GRACE_SECONDS", "20")]);
    let (http, metrics) = (service.port("http").unwrap(), service.port("metrics").unwrap());
    let running = Connection::get(http, "/slow/3000", "").unwrap();
    eventually("the request runs", || (!service.events("working").is_empty()).then_some(())).unwrap();
    service.terminate().unwrap();
    eventually("it is not ready", || (ready(metrics).status == 503).then_some(())).unwrap();
    assert!(ready(http).body.starts_with(r#"{"status":"draining""#), "requests are still taken");
    assert_eq!(get(http, "/healthz").unwrap().status, 200, "a draining service must not be restarted");
    eventually("no more connections are taken", || Connection::get(http, "/healthz", "").is_err().then_some(())).unwrap();
    assert_eq!(running.answer().unwrap().body, "done");
    assert_eq!(service.wait().unwrap().code(), Some(0), "{}", service.log());
    assert_eq!(service.events("stopped").len(), 1);
}

#[test]
fn a_signal_ends_a_start_that_takes_long() {
    let mut service = start(&[("START_SECONDS", "3600")]);
    eventually("it starts", || (!service.events("starting").is_empty()).then_some(())).unwrap();
    service.terminate().unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("stopped by SIGTERM"), "{}", service.log());
}

#[test]
fn a_request_that_outlasts_the_grace_period_is_cut_off() {
    let mut service = start(&[("SHUTDOWN_GRACE_SECONDS", "1")]);
    let port = service.port("http").unwrap();
    let running = Connection::get(port, "/slow/60000", "").unwrap();
    eventually("the request runs", || (!service.events("working").is_empty()).then_some(())).unwrap();
    service.terminate().unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("work was cut off 1 s after the signal"), "{}", service.log());
    assert!(running.answer().is_err());
}

#[test]
fn readiness_follows_an_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = start(&[("FEATURE_SERVICE_URL", &url)]);
    let port = service.port("http").unwrap();
    assert_eq!(ready(port).status, 200);
    drop(listener);
    let unready = eventually("it is not ready", || Some(ready(port)).filter(|answer| answer.status == 503)).unwrap();
    let expected = format!("no connection to {url}: connection refused");
    assert!(unready.body.contains(&expected), "{}", unready.body);
    let warned = || Some(service.events("not ready")).filter(|events| !events.is_empty());
    assert_eq!(eventually("the log tells", warned).unwrap()[0]["check"], "feature-service");
}

#[test]
fn all_configuration_mistakes_are_logged_before_anything_starts() {
    let wrong = [("HTTP_PORT", "http"), ("SHUTDOWN_GRACE_SECONDS", "soon"), ("FEATURE_SERVICE_URL", "feature"), ("TOKEN", "canary")];
    let log = check_refused(program(), &[], &wrong).unwrap();
    for variable in ["HTTP_PORT", "SHUTDOWN_GRACE_SECONDS", "FEATURE_SERVICE_URL"] {
        assert!(log.contains(&format!("\"variable\":\"{variable}\"")), "{log}");
    }
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn arguments_are_answered_without_a_configuration() {
    let (code, version) = run(&["--version"], &[]);
    assert_eq!((code, version.as_str()), (Some(0), "minimal 1.2.3\n"));
    let (code, help) = run(&["--help"], &[("HTTP_PORT", "wrong")]);
    assert!(code == Some(0) && help.contains("--refuse") && help.contains("SHUTDOWN_GRACE_SECONDS"), "{help}");
    let (code, table) = run(&["--print-config-docs"], &[]);
    assert!(code == Some(0) && table.contains("| `TOKEN` | a secret text (secret) |"), "{table}");
    let (code, failed) = run(&["--refuse"], &[]);
    assert!(code == Some(1) && failed.contains("this always fails"), "{failed}");
    for wrong in [&["--migrat"][..], &["serve"], &["--refuse", "x"]] {
        let (code, text) = run(wrong, &[]);
        assert!(code == Some(2) && text.contains("unknown argument") && text.contains("Usage: minimal"), "{text}");
    }
}

#[test]
fn a_taken_port_is_named_with_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, log) = run(&[], &[("HTTP_PORT", &port)]);
    assert!(code == Some(1) && log.contains(&format!("failed to listen on 127.0.0.1:{port} (HTTP_PORT)")), "{log}");
}

#[test]
fn a_request_is_traced_to_the_collector_and_its_log_lines_say_so() {
    let collector = Collector::start().unwrap();
    let mut service = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    let port = service.port("http").unwrap();
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    Connection::get(port, "/slow/1", parent).unwrap().answer().unwrap();
    get(port, "/readyz").unwrap();
    // What was not sent yet is sent at the end.
    service.end_in_order().unwrap();
    let spans = collector.spans();
    let requests: Vec<_> = spans.iter().filter(|span| span.name == "GET /slow/{milliseconds}").collect();
    let [span] = requests[..] else { panic!("{spans:?}") };
    assert_eq!((span.service.as_str(), span.parent_id.as_str()), ("minimal", "b7ad6b7169203331"));
    assert_eq!(span.trace_id, "0af7651916cd43dd8448eb211c80319c");
    for message in ["working", "answered"] {
        let line = &service.events(message)[0];
        assert_eq!((line["trace_id"].as_str(), line["span_id"].as_str()), (Some(&*span.trace_id), Some(&*span.span_id)), "{line}");
        assert_eq!(line["span"]["route"], "/slow/{milliseconds}");
    }
    assert!(spans.iter().all(|span| !span.name.contains("readyz")), "{spans:?}");
}

#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    let mut service = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
    let port = service.port("http").unwrap();
    for _ in 0..20 {
        assert_eq!(get(port, "/slow/1").unwrap().status, 200);
    }
    let started = Instant::now();
    service.end_in_order().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn where_little_is_logged_a_failure_still_names_its_request() {
    // The port is told at a level that is not logged.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = start(&[("LOG_LEVEL", "error"), ("HTTP_PORT", &port.to_string())]);
    let ask = || Connection::get(port, "/items/1", "x-request-id: client-7\r\n").and_then(Connection::answer).ok();
    assert_eq!(eventually("it answers", ask).unwrap().status, 500);
    let events = eventually("the panic is logged", || Some(service.events("panicked")).filter(|events| !events.is_empty())).unwrap();
    assert_eq!(events[0]["span"]["request_id"], "client-7");
    assert_eq!(events[0]["trace_id"].as_str().map(str::len), Some(32), "{}", events[0]);
    assert!(service.events("answered").is_empty());
}

#[test]
fn every_line_names_its_request_whatever_libraries_ask_of_the_log() {
    let mut service = start(&[("LOG_LEVEL", "info")]);
    let port = service.port("http").unwrap();
    for _ in 0..50 {
        get(port, "/slow/1").unwrap();
    }
    service.end_in_order().unwrap();
    let lines = [service.events("working"), service.events("answered")].concat();
    assert_eq!(lines.len(), 100);
    for line in lines {
        assert!(line["trace_id"].is_string() && line["span"]["request_id"].is_string(), "{line}");
    }
}
