//! The repository service against a real PostgreSQL.

#![cfg(test)]

use service_testing::{check_ready_while_its_database_answers, check_refused};

const PROGRAM: &str = env!("CARGO_BIN_EXE_repository-service");

#[test]
fn it_is_ready_while_its_database_answers() {
    check_ready_while_its_database_answers(PROGRAM).unwrap();
}

#[test]
fn without_a_database_it_does_not_start() {
    let log = check_refused(PROGRAM, &[], &[]).unwrap();
    assert!(log.contains("DATABASE_URL is not set"), "{log}");
}
