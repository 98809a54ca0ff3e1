//! The cluster in memory keeps the same rules as an API server.

mod flows;
mod immutable;
mod ownership;
mod rules;
mod simulation;
mod table;

use provision_apply::MemoryCluster;

#[tokio::test]
async fn every_rule_holds_in_memory() {
    rules::check(&MemoryCluster::new(), "conformance").await;
}

#[tokio::test]
async fn every_flow_holds_in_memory() {
    flows::check(&MemoryCluster::new(), "conformance-flows").await;
}
