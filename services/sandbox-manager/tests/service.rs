//! The sandbox manager as a process: its health, and sandboxes as root, as an ordinary user, and of containerd.

#![cfg(test)]

#[path = "service/attacks.rs"]
mod attacks;
#[path = "service/containerd.rs"]
mod containerd;
#[path = "service/containers.rs"]
mod containers;
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
