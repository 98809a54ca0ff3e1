//! The git service as a process, on real repositories behind `git http-backend` and `git daemon`.

#![cfg(test)]

#[path = "service/attacks.rs"]
mod attacks;
#[path = "service/faults.rs"]
mod faults;
#[path = "service/remote.rs"]
mod remote;
#[path = "service/work.rs"]
mod work;
#[path = "service/world.rs"]
mod world;

use service_testing::check_refused;

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-service");

#[test]
fn wrong_settings_are_named_and_no_secret_is_shown() {
    let refused = |name: &str, value: &str| check_refused(PROGRAM, &[], &[(name, value)]).unwrap();
    assert!(refused("GIT_CLONE_TIMEOUT_SECONDS", "5m").contains("GIT_CLONE_TIMEOUT_SECONDS is \\\"5m\\\""));
    assert!(refused("ALLOWED_URL_SCHEMES", "https,file").contains("ALLOWED_URL_SCHEMES is"));
    assert!(refused("GIT_SSH_KNOWN_HOSTS", "/a; rm -rf /").contains("GIT_SSH_KNOWN_HOSTS is"));
    let log = refused("GIT_CREDENTIALS", r#"{"a": {"password": "canary"}}"#);
    assert!(log.contains("GIT_CREDENTIALS is set but malformed") && !log.contains("canary"), "{log}");
}

#[test]
fn a_folder_that_cant_be_written_is_named() {
    let mut service = service_testing::Service::start(PROGRAM, &[], &[("GIT_WORKSPACE_BASE_PATH", "/proc/nowhere")]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("/proc/nowhere can't be written (GIT_WORKSPACE_BASE_PATH)"), "{}", service.log());
}

#[test]
fn the_page_holds_the_configuration() {
    service_testing::config_table_is_current(PROGRAM, "docs/services/git-service.md").unwrap();
}
