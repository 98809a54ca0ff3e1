//! One feature from the request to the branch.

use machine::{Machine, a_feature_becomes_a_branch};

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_becomes_a_branch_with_artifacts_events_metrics_and_a_trace() {
    let machine = Machine::up();
    a_feature_becomes_a_branch(&machine).await;
}
