//! The git service as a process.

#![cfg(test)]

use service_testing::{check_refused, check_starts_ready_and_ends_in_order};

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-service");

#[test]
fn it_starts_ready_and_ends_in_order() {
    check_starts_ready_and_ends_in_order(PROGRAM).unwrap();
}

#[test]
fn a_wrong_timeout_is_named() {
    let log = check_refused(PROGRAM, &[], &[("GIT_CLONE_TIMEOUT_SECONDS", "5m")]).unwrap();
    assert!(log.contains("GIT_CLONE_TIMEOUT_SECONDS is \\\"5m\\\""), "{log}");
}
