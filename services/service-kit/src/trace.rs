//! Traces: where a piece of work came from and what it caused, across services, the event bus and the outbox.
//!
//! Ids follow the W3C trace context (<https://www.w3.org/TR/trace-context/>). They exist and are passed on whether or not a collector is
//! configured; spans are sent, by OTLP over gRPC, only if one is. Sending never holds a service up: what a collector does not take in
//! time is dropped and counted.

mod export;

use std::future::Future;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) use export::Traces;

/// Header that names a request in logs, the same through all services.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT_REQUEST: HeaderValue;
}

/// The two headers of the W3C trace context.
#[derive(Default)]
struct Headers {
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        match key {
            "traceparent" => self.traceparent = Some(value),
            // An empty one says nothing; some receivers refuse it.
            "tracestate" => self.tracestate = Some(value).filter(|value| !value.is_empty()),
            _ => {}
        }
    }
}

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent.as_deref(),
            "tracestate" => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Returns `traceparent` and `tracestate` of the work that runs, to be sent or stored beside what it causes; none outside of any span.
pub fn current_headers() -> (Option<String>, Option<String>) {
    let mut headers = Headers::default();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    (headers.traceparent, headers.tracestate)
}

/// Adds `traceparent`, `tracestate` and `x-request-id` of the work that runs; for gRPC, make the metadata of the map.
pub fn inject(headers: &mut HeaderMap) {
    let (traceparent, tracestate) = current_headers();
    for (name, value) in [("traceparent", traceparent), ("tracestate", tracestate)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    if let Ok(id) = CURRENT_REQUEST.try_with(HeaderValue::clone) {
        headers.insert(REQUEST_ID, id);
    }
}

/// Returns the id of the request that the work that runs is done for.
pub fn request_id() -> Option<String> {
    CURRENT_REQUEST.try_with(|id| id.to_str().ok().map(str::to_owned)).ok().flatten()
}

/// Makes a span that was not entered yet part of the trace that the headers tell of; headers that make no sense are left out.
pub fn continue_from(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    let headers = Headers { traceparent: traceparent.map(str::to_owned), tracestate: tracestate.map(str::to_owned) };
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    if parent.span().span_context().is_valid() {
        // Refused if the span is disabled by its level, or started, and so has its parent already.
        drop(span.set_parent(parent));
    }
}

/// Does `work` in a span that continues the trace that the headers tell of: those of a record of the event bus, or stored ones.
///
/// Spans made while the work runs are part of it; a span made before is a trace of its own, so `work` makes its spans when it is polled.
pub async fn enter<F: Future>(span: Span, traceparent: Option<&str>, tracestate: Option<&str>, work: F) -> F::Output {
    continue_from(&span, traceparent, tracestate);
    work.instrument(span).await
}

/// Makes the span of a gRPC request, for `tonic::transport::Server::trace_fn`.
pub fn grpc_span<B>(request: &Request<B>) -> Span {
    let method = request.uri().path();
    let id = request.headers().get(REQUEST_ID).filter(|id| is_plain(id)).and_then(|id| id.to_str().ok());
    let span = if method.starts_with("/grpc.health.") {
        tracing::debug_span!("request", request_id = id, method)
    } else {
        tracing::info_span!("request", request_id = id, method, otel.kind = "server")
    };
    continue_from_request(&span, request);
    span.context().span().update_name(method.to_owned());
    span
}

pub(crate) fn continue_from_request<B>(span: &Span, request: &Request<B>) {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    continue_from(span, header("traceparent"), header("tracestate"));
}

/// Tells whether an id is short and plain, since it goes into logs.
pub(crate) fn is_plain(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// Does the work of a request under its id.
pub(crate) async fn with_request_id<F: Future>(id: HeaderValue, work: F) -> F::Output {
    CURRENT_REQUEST.scope(id, work).await
}

/// Adds to the span of a request what is known at its end.
pub(crate) fn describe_answer(span: &Span, name: String, status: StatusCode) {
    let context = span.context();
    context.span().update_name(name);
    context.span().set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        context.span().set_status(Status::error(""));
    }
}

#[cfg(test)]
mod tests;
