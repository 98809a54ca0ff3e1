//! provision.

fn main() {}
