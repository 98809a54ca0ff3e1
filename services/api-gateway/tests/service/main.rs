//! The gateway as a process, in front of doubles of the services that speak their protobuf files' JSON.

#![cfg(test)]

mod browser;
mod calls;
mod dashboard;
mod day;
mod double;
mod issuer;
mod limits;
mod tokens;

use service_testing::{Service, check_refused, config_table_is_current};

const PROGRAM: &str = env!("CARGO_BIN_EXE_api-gateway");
const OPEN: (&str, &str) = ("OIDC_MODE", "off");

/// Starts a gateway that asks nobody for a token, in front of `features`.
fn open_gateway(features: &str, more: &[(&str, &str)]) -> (Service, String) {
    let variables: Vec<(&str, &str)> = [OPEN, ("FEATURE_SERVICE_URL", features)].into_iter().chain(more.iter().copied()).collect();
    started(&variables)
}

fn started(variables: &[(&str, &str)]) -> (Service, String) {
    let service = Service::start(PROGRAM, &[], variables).unwrap();
    let url = format!("http://127.0.0.1:{}", service.port("http").unwrap());
    (service, url)
}

#[test]
fn it_starts_ready_and_ends_in_order() {
    let mut service = Service::start(PROGRAM, &[], &[OPEN]).unwrap();
    service.wait_for_readiness(200).unwrap();
    assert_eq!(service.events("OIDC_MODE is off: anyone who reaches this address may call the platform").len(), 1);
    service.end_in_order().unwrap();
}

#[test]
fn a_service_behind_it_that_is_not_there_is_named() {
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", there.local_addr().unwrap());
    let urls = [OPEN, ("FEATURE_SERVICE_URL", url.as_str()), ("REPOSITORY_SERVICE_URL", "http://127.0.0.1:1")];
    let service = Service::start(PROGRAM, &[], &urls).unwrap();
    let body = service.wait_for_readiness(503).unwrap();
    assert!(body.contains(r#"{"name":"feature-service","ok":true}"#), "{body}");
    assert!(body.contains("no connection to http://127.0.0.1:1: connection refused"), "{body}");
}

#[test]
fn a_gateway_that_would_ask_nobody_must_be_told_so() {
    let log = check_refused(PROGRAM, &[], &[]).unwrap();
    assert!(log.contains("OIDC_ISSUER is not set") && log.contains("OIDC_CLIENT_ID is not set"), "{log}");
}

#[test]
fn its_page_holds_its_configuration() {
    config_table_is_current(PROGRAM, "docs/services/api-gateway.md").unwrap();
}
