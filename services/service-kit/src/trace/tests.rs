use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Runs `work` where spans are made as in a service without a collector.
fn traced<T>(work: impl FnOnce() -> T) -> T {
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build();
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
    tracing::subscriber::with_default(subscriber, work)
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Splits a traceparent into trace, span and flags.
fn parts(traceparent: &str) -> (String, String, String) {
    let mut parts = traceparent.split('-').map(str::to_owned);
    assert_eq!(parts.next().unwrap(), "00");
    let [trace, span, flags] = [(); 3].map(|()| parts.next().unwrap());
    assert_eq!((trace.len(), span.len()), (32, 16));
    (trace, span, flags)
}

#[test]
fn ids_exist_without_a_collector_and_are_passed_on() {
    traced(|| {
        assert_eq!(current_headers(), (None, None), "outside of a span there is nothing to pass on");
        let span = tracing::info_span!("request");
        let (trace, _, flags) = parts(&span.in_scope(current_headers).0.unwrap());
        assert_eq!(flags, "01");
        let inner = span.in_scope(|| tracing::info_span!("call").in_scope(current_headers).0.unwrap());
        assert_eq!(parts(&inner).0, trace, "a span inside belongs to the same trace");
    });
}

#[test]
fn work_continues_the_trace_that_caused_it() {
    traced(|| {
        for (parent, state, flags) in [
            (PARENT.to_owned(), Some("vendor=1"), "01"),
            // Who asks for no samples is believed, and the ids go on.
            (PARENT.replace("-01", "-00"), None, "00"),
        ] {
            let (traceparent, tracestate) = block_on(enter(tracing::info_span!("step"), Some(&parent), state, async { current_headers() }));
            let (trace, span, own_flags) = parts(&traceparent.unwrap());
            assert_eq!((trace.as_str(), own_flags.as_str()), ("0af7651916cd43dd8448eb211c80319c", flags));
            assert_ne!(span, "b7ad6b7169203331", "it is a span of its own");
            assert_eq!(tracestate.as_deref(), state);
        }
    });
}

#[test]
fn headers_that_make_no_sense_start_a_new_trace() {
    traced(|| {
        for wrong in
            ["", "x", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", &PARENT.to_uppercase(), &"9".repeat(9000)]
        {
            let (traceparent, _) = block_on(enter(tracing::info_span!("step"), Some(wrong), Some("=,=\u{0}"), async { current_headers() }));
            assert_ne!(parts(&traceparent.unwrap()).0, "0af7651916cd43dd8448eb211c80319c", "{wrong}");
        }
    });
}

#[test]
fn a_request_is_named_to_those_who_are_asked_on_its_behalf() {
    traced(|| {
        let id = HeaderValue::from_static("client-7");
        let headers = block_on(with_request_id(
            id,
            enter(tracing::info_span!("step"), Some(PARENT), None, async {
                let mut headers = HeaderMap::new();
                inject(&mut headers);
                (headers, request_id())
            }),
        ));
        assert_eq!((headers.0["x-request-id"].to_str().unwrap(), headers.1.as_deref()), ("client-7", Some("client-7")));
        assert!(headers.0["traceparent"].to_str().unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(!headers.0.contains_key("tracestate"));
        assert_eq!(request_id(), None);
    });
}

proptest::proptest! {
    #[test]
    fn whatever_the_headers_say_there_is_a_trace_that_goes_on(parent in "[0-9a-f]{0,3}-?[0-9a-fA-F]{0,40}-?[ -~]{0,24}-?[0-9a-f]{0,3}", state in "[ -~]{0,60}") {
        traced(|| {
            let (traceparent, _) = block_on(enter(tracing::info_span!("step"), Some(&parent), Some(&state), async { current_headers() }));
            parts(&traceparent.unwrap());
        });
    }
}
