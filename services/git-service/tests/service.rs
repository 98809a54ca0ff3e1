//! The git service as a process.

#![cfg(test)]

use service_testing::Service;

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-service");

#[test]
fn it_starts_ready_and_ends_in_order() {
    let mut service = Service::start(PROGRAM, &[], &[]).unwrap();
    service.wait_for_readiness(200).unwrap();
    service.terminate().unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0), "{}", service.log());
}

#[test]
fn a_wrong_timeout_is_named() {
    let mut service = Service::start(PROGRAM, &[], &[("GIT_CLONE_TIMEOUT_SECONDS", "5m")]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(2));
    assert!(service.log().contains("GIT_CLONE_TIMEOUT_SECONDS is \\\"5m\\\""), "{}", service.log());
}
