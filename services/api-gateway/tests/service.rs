//! The gateway in front of one service that is there and one that is not.

#![cfg(test)]

use service_testing::{Service, check_starts_ready_and_ends_in_order};

const PROGRAM: &str = env!("CARGO_BIN_EXE_api-gateway");

#[test]
fn it_starts_ready_and_ends_in_order() {
    check_starts_ready_and_ends_in_order(PROGRAM).unwrap();
}

#[test]
fn a_service_behind_it_that_is_not_there_is_named() {
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", there.local_addr().unwrap());
    let urls = [("FEATURE_SERVICE_URL", url.as_str()), ("REPOSITORY_SERVICE_URL", "http://127.0.0.1:1")];
    let service = Service::start(PROGRAM, &[], &urls).unwrap();
    let body = service.wait_for_readiness(503).unwrap();
    assert!(body.contains(r#"{"name":"feature-service","ok":true}"#), "{body}");
    assert!(body.contains("no connection to http://127.0.0.1:1: connection refused"), "{body}");
}
