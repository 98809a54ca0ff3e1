//! The trace of a feature, as a collector has it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use service_testing::{Collector, Span};

use crate::Worked;
use crate::platform::SERVICES;

/// Services send spans in batches, some seconds apart.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a collector has spans of every service in a feature's trace, each caused by another one of them or by the client.
///
/// # Panics
/// When something of that is still missing after a minute; with what it is.
pub async fn one_trace_over_all_services(collector: &Collector, worked: &Worked) {
    let end = Instant::now() + LIMIT;
    loop {
        let missing = missing(&collector.spans(), worked);
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "the trace has gaps: {missing:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn missing(spans: &[Span], worked: &Worked) -> Vec<String> {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.trace_id == worked.trace_id).collect();
    let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    let silent = SERVICES.iter().filter(|service| !services.contains(*service)).map(|service| format!("no span of {service}"));
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).chain([worked.span_id.as_str()]).collect();
    let torn = spans.iter().filter(|span| !known.contains(span.parent_id.as_str()));
    silent.chain(torn.map(|span| format!("nothing has caused {span:?}"))).collect()
}
