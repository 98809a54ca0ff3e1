//! feature-worker.

fn main() {}
