//! Bad input and faults of this machine, as a person meets them: each is said with its cause, soon, and does no harm.

mod disk;
mod network;
mod notices;
mod postgres;
mod project;
mod state;
mod user;
mod workload;
