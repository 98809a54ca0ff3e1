//! sandbox-manager.

fn main() {}
