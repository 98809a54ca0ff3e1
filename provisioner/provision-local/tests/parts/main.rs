//! Programs that stand in for real ones in the tests of this crate.

fn main() {}
