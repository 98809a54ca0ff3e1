//! repository-service.

fn main() {}
