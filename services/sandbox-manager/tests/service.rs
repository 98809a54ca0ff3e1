//! The sandbox manager as a process: its health, and sandboxes as root and as an ordinary user.

#![cfg(test)]

#[path = "service/attacks.rs"]
mod attacks;
#[path = "service/health.rs"]
mod health;
#[path = "service/runs.rs"]
mod runs;
#[path = "service/world.rs"]
mod world;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox-manager");

#[test]
fn the_page_holds_the_configuration() {
    service_testing::config_table_is_current(PROGRAM, "docs/services/sandbox-manager.md").unwrap();
}
