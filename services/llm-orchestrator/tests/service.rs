//! The orchestrator as a process.

#![cfg(test)]

use service_testing::Service;

const PROGRAM: &str = env!("CARGO_BIN_EXE_llm-orchestrator");

#[test]
fn it_starts_ready_and_ends_in_order() {
    let mut service = Service::start(PROGRAM, &[], &[]).unwrap();
    service.wait_for_readiness(200).unwrap();
    service.terminate().unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0), "{}", service.log());
}

#[test]
fn its_key_is_never_shown() {
    let mut service = Service::start(PROGRAM, &[], &[("BAML_CLIENT_API_KEY", "canary-key"), ("BAML_MAX_TOKENS", "0")]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(2));
    assert!(service.log().contains("BAML_MAX_TOKENS") && !service.log().contains("canary"), "{}", service.log());
}
