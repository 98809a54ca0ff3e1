//! Runs against the cluster in memory: what is written in which order, what is recorded, and what a kill leaves.

mod basics;
mod faults;
mod kill;
mod lock;
mod order;
mod world;
