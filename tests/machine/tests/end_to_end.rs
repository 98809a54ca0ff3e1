//! One feature from the request to the branch.

use machine::{Machine, a_feature_becomes_a_branch, one_trace_over_all_services};
use service_testing::Collector;

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_becomes_a_branch_with_artifacts_events_metrics_and_a_trace() {
    let collector = Collector::start().unwrap();
    let machine = Machine::up_with(&[&format!("monitoring.otlp_endpoint={}", collector.url())]);
    let worked = a_feature_becomes_a_branch(&machine).await;
    one_trace_over_all_services(&collector, &worked).await;
}
