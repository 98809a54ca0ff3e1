//! The rules that the cluster in memory keeps, asked of a real API server: what one says, the other must say too.

use integration::World;

#[path = "../../../provisioner/provision-apply/tests/conformance/flows.rs"]
mod flows;
#[path = "../../../provisioner/provision-apply/tests/conformance/immutable.rs"]
mod immutable;
#[path = "../../../provisioner/provision-apply/tests/conformance/ownership.rs"]
mod ownership;
#[path = "../../../provisioner/provision-apply/tests/conformance/rules.rs"]
mod rules;
#[path = "../../../provisioner/provision-apply/tests/conformance/table.rs"]
mod table;

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_cluster_in_memory_holds_on_a_real_server() {
    let world = World::start().await;
    let namespace = world.namespace("rules").await;
    rules::check(&*world.cluster, &namespace).await;
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_of_the_cluster_in_memory_holds_on_a_real_server() {
    let world = World::start().await;
    let namespace = world.namespace("flows").await;
    flows::check(&*world.cluster, &namespace).await;
    world.forget(&namespace).await;
}
