//! The orchestrator as a process.

#![cfg(test)]

use service_testing::{check_refused, check_starts_ready_and_ends_in_order};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llm-orchestrator");

#[test]
fn it_starts_ready_and_ends_in_order() {
    check_starts_ready_and_ends_in_order(PROGRAM).unwrap();
}

#[test]
fn its_key_is_never_shown() {
    let log = check_refused(PROGRAM, &[], &[("BAML_CLIENT_API_KEY", "canary-key"), ("BAML_MAX_TOKENS", "0")]).unwrap();
    assert!(log.contains("BAML_MAX_TOKENS") && !log.contains("canary"), "{log}");
}
