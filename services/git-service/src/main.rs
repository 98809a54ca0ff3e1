//! git-service.

fn main() {}
