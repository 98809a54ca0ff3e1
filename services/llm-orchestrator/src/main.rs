//! llm-orchestrator.

fn main() {}
