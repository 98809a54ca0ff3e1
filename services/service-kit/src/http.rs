//! The HTTP side that all services share: health, metrics, request ids, request metrics, panics.

use std::any::Any;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics::{counter, gauge, histogram};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, MakeRequestUuid};
use tracing::Instrument;

use crate::health::{Readiness, Status};
use crate::linger::linger;
use crate::metrics::Metrics;
use crate::rpc::{Code, RpcError};
use crate::trace;

/// Most bytes of a request's body, unless a service's routes say otherwise with a layer of their own.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// Makes the router of the service's own port: its routes, plus health for load balancers.
pub(crate) fn service_router(routes: Router, readiness: Readiness) -> Router {
    observed(routes.merge(health_router(readiness)).fallback(not_found))
}

/// Makes the router of the metrics port.
pub(crate) fn metrics_router(readiness: Readiness, metrics: Metrics) -> Router {
    let metrics = Router::new().route("/metrics", get(render_metrics)).with_state(metrics);
    health_router(readiness).merge(metrics).fallback(not_found)
}

fn health_router(readiness: Readiness) -> Router {
    let alive = || async { Json(json!({"status": "alive"})) };
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(readiness)
}

fn observed(routes: Router) -> Router {
    routes
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(linger))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn(observe))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report().await;
    let status = if report.status == Status::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn render_metrics(State(metrics): State<Metrics>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

async fn not_found() -> Response {
    RpcError::not_found("nothing is at this path").into_response()
}

/// Answers for a request whose work panicked; the panic itself is in the log already.
fn answer_panic(_reason: Box<dyn Any + Send>) -> Response {
    counter!("http_panics_total").increment(1);
    RpcError::new(Code::Internal, "the request met a bug").into_response()
}

/// Gives a request its id, and counts, times and logs it.
async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let shown = String::from_utf8_lossy(id.as_bytes()).into_owned();
    let probe = matches!(route.as_str(), "/healthz" | "/readyz");
    let span = if probe {
        // Asked for every few seconds: no traces of it.
        tracing::debug_span!("request", request_id = shown, method, route)
    } else {
        tracing::info_span!("request", request_id = shown, method, route, otel.kind = "server")
    };
    trace::continue_from_request(&span, &request);
    let started = Instant::now();
    let running = InFlight::start();
    let mut response = trace::with_request_id(id.clone(), next.run(request).instrument(span.clone())).await;
    drop(running);
    let seconds = started.elapsed().as_secs_f64();
    let status = response.status().as_u16().to_string();
    histogram!("http_request_duration_seconds", "route" => route.clone(), "status" => status.clone()).record(seconds);
    counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status.clone()).increment(1);
    trace::describe_answer(&span, format!("{method} {route}"), response.status());
    span.in_scope(|| if probe { tracing::debug!(status, seconds, "answered") } else { tracing::info!(status, seconds, "answered") });
    response.headers_mut().insert(trace::REQUEST_ID, id);
    response
}

/// Takes over the client's id if it is short and plain, else makes one.
fn request_id(request: &Request) -> HeaderValue {
    let made = || MakeRequestUuid.make_request_id(request).map(|id| id.into_header_value());
    request
        .headers()
        .get(trace::REQUEST_ID)
        .filter(|id| trace::is_plain(id))
        .cloned()
        .or_else(made)
        .unwrap_or_else(|| HeaderValue::from_static("none"))
}

/// Keeps the label's values few, whatever clients send.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Counts a request as running until it is dropped, also when the client goes away.
struct InFlight;

impl InFlight {
    fn start() -> Self {
        gauge!("http_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("http_requests_in_flight").decrement(1.0);
    }
}
