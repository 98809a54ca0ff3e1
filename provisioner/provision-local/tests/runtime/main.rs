//! Pods as real processes: what runs, how it ends, what is told, and what is left when anything is killed.
#![expect(clippy::unwrap_used, reason = "a test fails where the world is not as it should be")]

mod faults;
mod kill;
mod lifecycle;
mod limits;
mod probes;
mod services;
mod user;
mod volumes;
mod world;
