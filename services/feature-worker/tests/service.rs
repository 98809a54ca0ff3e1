//! The worker against a real PostgreSQL.

#![cfg(test)]

use service_testing::{Service, check_ready_while_its_database_answers, check_refused};

const PROGRAM: &str = env!("CARGO_BIN_EXE_feature-worker");

#[test]
fn it_is_ready_while_its_database_answers() {
    check_ready_while_its_database_answers(PROGRAM).unwrap();
}

#[test]
fn without_a_database_it_does_not_start() {
    let log = check_refused(PROGRAM, &[], &[]).unwrap();
    assert!(log.contains("DATABASE_URL is not set"), "{log}");
}

#[test]
fn it_opens_the_metrics_port_only() {
    let service = Service::start(PROGRAM, &[], &[("DATABASE_URL", "postgres://u:p@127.0.0.1:1/x")]).unwrap();
    service.wait_for_readiness(503).unwrap();
    assert_eq!(service.events("listening").len(), 1, "{}", service.log());
}
