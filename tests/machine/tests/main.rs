//! The whole platform on this machine, as a person uses it, and what becomes of fifty features when anything of it is killed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod end_to_end;
mod faults;
mod kafka;
mod kill;
mod life;
mod metrics;
mod secrets;
