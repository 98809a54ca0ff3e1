//! Requests on their way to a service, and answers on their way back.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SERVER,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http_body_util::{LengthLimitError, Limited};
use metrics::{counter, gauge};
use service_kit::rpc::{Code, RpcError, too_large};
use service_kit::{Lifecycle, Upstream, trace, words};
use tracing::Instrument;

use crate::client::Origin;
use crate::methods::Method;

/// Headers of a client that a service gets to see; all others are dropped, tokens and cookies with them.
const PASSED: [HeaderName; 6] = [
    ACCEPT,
    CONTENT_TYPE,
    USER_AGENT,
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("connect-timeout-ms"),
    HeaderName::from_static("last-event-id"),
];

/// Headers between two neighbours (RFC 9110, section 7.6.1), and those that only the gateway may set.
const KEPT_BACK: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    SERVER,
    SET_COOKIE,
];

/// How long a client should wait before it asks for a service again that is away.
const AWAY: Duration = Duration::from_secs(2);

/// Passes requests on.
pub(crate) struct Proxy {
    http: reqwest::Client,
    limit: Duration,
    body_limit: usize,
    lifecycle: Lifecycle,
}

impl Proxy {
    /// Prepares to pass on requests that take at most `limit` and have at most `body_limit` bytes.
    pub(crate) fn new(limit: Duration, body_limit: usize, lifecycle: Lifecycle) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).http1_only();
        // A stream of events may be silent for long: only the system can tell that its other end is gone.
        let builder = builder.connect_timeout(limit.min(Duration::from_secs(5))).tcp_keepalive(Duration::from_secs(30));
        Ok(Self { http: builder.build()?, limit, body_limit, lifecycle })
    }

    /// Tells whether a request says itself that it is too large.
    pub(crate) fn is_too_large(&self, headers: &HeaderMap) -> bool {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > self.body_limit))
    }

    /// Makes the answer to a request that is too large.
    pub(crate) fn too_large(&self) -> Response {
        counter!("gateway_requests_refused_total", "reason" => "size").increment(1);
        too_large(format!("the request's body has more than {} bytes", self.body_limit)).into_response()
    }

    /// Passes a request on and the answer back.
    pub(crate) async fn forward(&self, upstream: &Upstream, method: Method, origin: &Origin, request: Request) -> Response {
        let span = tracing::info_span!("call", method = method.path, otel.kind = "client", otel.name = method.path);
        let sent = self.send(upstream, method, origin, request).instrument(span).await;
        match sent {
            Ok(response) => self.answer(method, response),
            Err(failure) => self.failed(method, failure),
        }
    }

    async fn send(&self, upstream: &Upstream, method: Method, origin: &Origin, request: Request) -> Result<reqwest::Response, Failure> {
        let mut headers = HeaderMap::new();
        for name in PASSED {
            if let Some(value) = request.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        origin.tell(&mut headers);
        trace::inject(&mut headers);
        // The server has checked that the body is as long as it says.
        if let Some(length) = request.headers().get(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        let body = Body::new(Limited::new(request.into_body(), self.body_limit));
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let sending = self.http.post(format!("{upstream}{}", method.path)).headers(headers).body(body);
        let sending = if method.streams { sending } else { sending.timeout(self.limit) };
        match tokio::time::timeout(self.limit, sending.send()).await {
            Ok(sent) => sent.map_err(Failure::Broken),
            Err(_) => Err(Failure::Late),
        }
    }

    fn answer(&self, method: Method, answer: reqwest::Response) -> Response {
        let status = answer.status();
        let headers = passed_back(answer.headers());
        let length = answer.headers().get(CONTENT_LENGTH).cloned();
        let parts = answer.bytes_stream();
        let events = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut response = if method.streams && events {
            let stream = Stream::open();
            // Clients of streams go elsewhere as soon as the gateway means to end: they would hold it up.
            let parts = parts.take_until(self.lifecycle.draining()).map(move |part| {
                let _open = &stream;
                part
            });
            Response::new(Body::from_stream(parts))
        } else {
            Response::new(Body::from_stream(parts))
        };
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        match length {
            // Told again only where the body ends with the service's own.
            Some(length) if !events => drop(response.headers_mut().insert(CONTENT_LENGTH, length)),
            _ => {}
        }
        if events {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        }
        response
    }

    /// Answers for a service that did not; what exactly happened is in the log, for it names addresses.
    fn failed(&self, method: Method, failure: Failure) -> Response {
        let service = method.target.name();
        let (reason, error) = match failure {
            Failure::Broken(error) if is_over_limit(&error) => return self.too_large(),
            Failure::Broken(error) if is_clients(&error) => ("client", RpcError::invalid("the request's body broke off")),
            Failure::Broken(error) if error.is_timeout() && !error.is_connect() => ("late", self.late(service)),
            Failure::Late => ("late", self.late(service)),
            Failure::Broken(error) => {
                let reason = if error.is_connect() { "away" } else { "broken" };
                tracing::warn!(service, error = words(&error.without_url()), "the service can't be reached, or broke off");
                let told = RpcError::new(Code::Unavailable, format!("the {service} can't be reached at the moment"));
                (reason, RpcError { retry_after: Some(AWAY), ..told })
            }
        };
        counter!("gateway_upstream_failures_total", "service" => service, "reason" => reason).increment(1);
        error.into_response()
    }

    fn late(&self, service: &str) -> RpcError {
        RpcError::new(Code::DeadlineExceeded, format!("the {service} gave no answer within {} s", self.limit.as_secs()))
    }
}

enum Failure {
    Late,
    Broken(reqwest::Error),
}

/// Returns an answer's headers without those that belong to the connection, or to the gateway.
fn passed_back(from: &HeaderMap) -> HeaderMap {
    let named = from.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    let passed =
        |name: &HeaderName| !KEPT_BACK.contains(name) && !named.contains(name) && *name != CONTENT_LENGTH && *name != "x-request-id";
    from.iter().filter(|(name, _)| passed(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_over_limit(error: &reqwest::Error) -> bool {
    is_caused_by::<LengthLimitError>(error)
}

/// Tells whether it was the client that broke off while it sent the body.
fn is_clients(error: &reqwest::Error) -> bool {
    is_caused_by::<axum::Error>(error)
}

fn is_caused_by<E: Error + 'static>(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Counts a stream as open until it is dropped.
struct Stream;

impl Stream {
    fn open() -> Self {
        gauge!("gateway_streams").increment(1.0);
        Self
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        gauge!("gateway_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_end_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Inner"),
            ("x-inner", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("set-cookie", "a=b"),
            ("content-length", "7"),
            ("content-type", "application/json"),
            ("retry-after", "3"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let passed = passed_back(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "retry-after"]);
    }
}
