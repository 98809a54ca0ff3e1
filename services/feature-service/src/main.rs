//! feature-service.

fn main() {}
