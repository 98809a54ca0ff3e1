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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(service: &str, id: &str, parent: &str) -> Span {
        let text = str::to_owned;
        Span { service: text(service), name: text("n"), trace_id: text("t"), span_id: text(id), parent_id: text(parent) }
    }

    #[test]
    fn a_service_that_is_silent_and_a_span_without_a_cause_are_missed() {
        let worked = Worked { id: "f".to_owned(), trace_id: "t".to_owned(), span_id: "client".to_owned() };
        let mut spans: Vec<Span> = SERVICES.iter().map(|service| span(service, service, SERVICES[0])).collect();
        spans[0].parent_id = "client".to_owned();
        assert_eq!(missing(&spans, &worked), Vec::<String>::new());
        spans[2].parent_id = "nobody".to_owned();
        let last = spans.pop().unwrap_or_else(|| span("", "", ""));
        spans.push(Span { trace_id: "another".to_owned(), ..last });
        let told = missing(&spans, &worked);
        assert_eq!(told[0], format!("no span of {}", SERVICES[6]));
        assert!(told[1].starts_with("nothing has caused") && told.len() == 2, "{told:?}");
    }
}
