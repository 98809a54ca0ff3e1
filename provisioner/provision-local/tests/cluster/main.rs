//! The cluster of one machine, through its socket.

#[path = "../../../provision-apply/tests/conformance/flows.rs"]
mod flows;
#[path = "../../../provision-apply/tests/conformance/immutable.rs"]
mod immutable;
mod lifecycle;
#[path = "../../../provision-apply/tests/conformance/ownership.rs"]
mod ownership;
mod platform;
mod protocol;
#[path = "../../../provision-apply/tests/conformance/rules.rs"]
mod rules;
mod start;
#[path = "../../../provision-apply/tests/conformance/table.rs"]
mod table;
mod world;

use self::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_cluster_in_memory_holds_on_one_machine() {
    let world = World::start().await;
    rules::check(&world.cluster, "conformance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_of_the_cluster_in_memory_holds_on_one_machine() {
    let world = World::start().await;
    flows::check(&world.cluster, "conformance-flows").await;
}
