//! Runs against the cluster in memory: what is written in which order, what is recorded, and what a kill leaves.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod basics;
mod faults;
mod kill;
mod lock;
mod order;
mod preflight;
mod restart;
mod strangers;
mod world;
