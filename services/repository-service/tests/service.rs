//! The repository service against a real PostgreSQL.

#![cfg(test)]

use service_testing::{PASSWORD, Postgres, Service};

const PROGRAM: &str = env!("CARGO_BIN_EXE_repository-service");

#[test]
fn it_is_ready_while_its_database_answers() {
    let mut postgres = Postgres::start().unwrap();
    let mut service = Service::start(PROGRAM, &[], &[("DATABASE_URL", &postgres.url())]).unwrap();
    service.wait_for_readiness(200).unwrap();
    postgres.stop().unwrap();
    assert!(service.wait_for_readiness(503).unwrap().contains("postgresql"));
    postgres.resume().unwrap();
    service.wait_for_readiness(200).unwrap();
    service.terminate().unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0), "{}", service.log());
    assert!(!service.log().contains(PASSWORD));
}

#[test]
fn without_a_database_it_does_not_start() {
    let mut service = Service::start(PROGRAM, &[], &[]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(2));
    assert!(service.log().contains("DATABASE_URL is not set"), "{}", service.log());
}
