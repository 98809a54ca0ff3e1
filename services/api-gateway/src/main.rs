//! api-gateway.

fn main() {}
