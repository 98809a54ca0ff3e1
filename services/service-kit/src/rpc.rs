//! JSON over HTTP between services: one POST for each call, errors as the Connect protocol has them.
//!
//! Source: <https://connectrpc.com/docs/protocol>, unary calls with JSON; names of fields are those of the protobuf files.

use std::fmt;
use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::Instrument;

use crate::trace;
use crate::upstream::Upstream;

/// What kind of failure a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong; a repeat is as wrong.
    InvalidArgument,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Who asks may not.
    PermissionDenied,
    /// What is asked for is not there.
    NotFound,
    /// It is there already, and different.
    AlreadyExists,
    /// The state of things does not allow it; a repeat meets the same.
    FailedPrecondition,
    /// Somebody was faster; the whole of it may be tried again.
    Aborted,
    /// A limit is reached; later it may be allowed.
    ResourceExhausted,
    /// It took too long.
    DeadlineExceeded,
    /// The one that is asked can't be reached or is stopping; a repeat may succeed.
    Unavailable,
    /// Not offered.
    Unimplemented,
    /// A bug, or an answer that nobody understands.
    Internal,
}

impl Code {
    /// Returns the HTTP status of this code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Aborted => StatusCode::CONFLICT,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the code that an answer without one stands for.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            400 | 413 | 415 | 422 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 | 504 => Self::DeadlineExceeded,
            409 => Self::Aborted,
            429 => Self::ResourceExhausted,
            501 => Self::Unimplemented,
            502 | 503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a call did not succeed; the message is for people and holds no secret.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// What kind of failure.
    pub code: Code,
    /// What failed, on what.
    #[serde(default)]
    pub message: String,
    /// How long the other side asks to wait before a repeat.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl RpcError {
    /// Makes an error.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// Makes an error about a wrong request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Makes an error about something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Logs a failure of our own and makes the error that the caller sees, which tells nothing of it.
    pub fn internal(what: &'static str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = crate::program::words(error), "{what}");
        Self::new(Code::Internal, what)
    }

    /// Tells whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self.code, Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unavailable)
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), Json(&self)).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

/// A request's or answer's message as JSON, whatever content type a client claims: `curl -d` claims a form.
#[derive(Clone, Debug)]
pub struct Rpc<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Rpc<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| unread(&rejection))?;
        let message = serde_json::from_slice(&body);
        message.map(Self).map_err(|error| RpcError::invalid(format!("the request is not understood: {error}")).into_response())
    }
}

/// Answers for a body that could not be read: too large, or broken off.
fn unread(rejection: &BytesRejection) -> Response {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large("the request's body is larger than this service takes").into_response();
    }
    RpcError::invalid("the request's body broke off").into_response()
}

/// Makes the answer to a request that is too large: the code of a limit, but the HTTP status that says which.
pub fn too_large(message: impl Into<String>) -> (StatusCode, Json<RpcError>) {
    (StatusCode::PAYLOAD_TOO_LARGE, Json(RpcError::new(Code::ResourceExhausted, message)))
}

/// Answers requests that take longer than `limit` with 504 and drops their work; a stream is free once its answer has begun.
///
/// Only what must not outlast a client belongs under it: work that is dropped ends between any two of its steps.
pub fn time_limit<S: Clone + Send + Sync + 'static>(routes: Router<S>, limit: Duration) -> Router<S> {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let late = || RpcError::new(Code::DeadlineExceeded, format!("the request took longer than {} s", limit.as_secs_f64()));
        tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| late().into_response())
    }))
}

impl<T: Serialize> IntoResponse for Rpc<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

/// Calls the methods of another service; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    upstream: Upstream,
    http: reqwest::Client,
    limit: Duration,
}

impl Client {
    /// Prepares calls to `upstream` that take at most `limit` each.
    ///
    /// # Errors
    /// [`RpcError`] if the HTTP client can't be set up.
    pub fn new(upstream: Upstream, limit: Duration) -> Result<Self, RpcError> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| RpcError::internal("failed to set up the HTTP client", &error))?;
        Ok(Self { upstream, http, limit })
    }

    /// Calls one method: `/feature.git.v1.GitService/Look`.
    ///
    /// # Errors
    /// What the other side answered, [`Code::Unavailable`] if it can't be reached, [`Code::DeadlineExceeded`] after the limit.
    pub async fn call<Q: Serialize + Sync, A: DeserializeOwned>(&self, method: &str, request: &Q) -> Result<A, RpcError> {
        let response = self.send(method, request).await?;
        let body = response.bytes().await.map_err(|error| self.broken(method, &error))?;
        serde_json::from_slice(&body)
            .map_err(|error| RpcError::new(Code::Internal, format!("the answer of {}{method} is not understood: {error}", self.upstream)))
    }

    /// Calls one method that answers with something else than JSON.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn send<Q: Serialize + Sync>(&self, method: &str, request: &Q) -> Result<reqwest::Response, RpcError> {
        let span = tracing::info_span!("call", method, otel.kind = "client", otel.name = method);
        self.exchange(method, request).instrument(span).await
    }

    async fn exchange<Q: Serialize + Sync>(&self, method: &str, request: &Q) -> Result<reqwest::Response, RpcError> {
        let url = format!("{}{method}", self.upstream);
        let mut headers = HeaderMap::new();
        trace::inject(&mut headers);
        let sent = self.http.post(url).timeout(self.limit).headers(headers).json(request).send().await;
        let response = sent.map_err(|error| self.broken(method, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await.map_err(|error| self.broken(method, &error))?;
        let told = serde_json::from_slice::<RpcError>(&body);
        let error = told.unwrap_or_else(|_| {
            RpcError::new(Code::of_status(status), format!("{}{method} answered with status {}", self.upstream, status.as_u16()))
        });
        // Told with the code of a limit that time lifts, but a repeat is as large.
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { Code::InvalidArgument } else { error.code };
        Err(RpcError { code, retry_after, ..error })
    }

    fn broken(&self, method: &str, error: &reqwest::Error) -> RpcError {
        if error.is_timeout() {
            return RpcError::new(
                Code::DeadlineExceeded,
                format!("{}{method} gave no answer within {} s", self.upstream, self.limit.as_secs()),
            );
        }
        RpcError::new(
            Code::Unavailable,
            format!("{}{method} can't be reached, or broke off: {}", self.upstream, crate::program::words(error)),
        )
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn any_body_is_the_message_that_it_says_or_a_wrong_request(body in prop_oneof![any::<Vec<u8>>(), "[\\[{}\\]:,\"a0-9 ]{0,30}".prop_map(String::into_bytes)]) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let said = serde_json::from_slice::<Value>(&body).ok();
            match runtime.block_on(Rpc::<Value>::from_request(Request::new(Body::from(body)), &())) {
                Ok(Rpc(value)) => prop_assert_eq!(Some(value), said),
                Err(refusal) => prop_assert_eq!((refusal.status().as_u16(), said), (400, None)),
            }
        }
    }

    async fn served(routes: Router) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Client::new(upstream, Duration::from_millis(300)).unwrap()
    }

    #[tokio::test]
    async fn a_call_brings_the_answer_or_the_error_that_was_told() {
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Ping {
            id: u32,
        }
        let wait = RpcError { retry_after: Some(Duration::from_secs(7)), ..RpcError::new(Code::ResourceExhausted, "too many") };
        let told = wait.clone();
        let routes = Router::new()
            .route("/Ping", post(|Rpc(ping): Rpc<Ping>| async { Rpc(ping) }))
            .route("/Full", post(move || async { told }))
            .route("/Silent", post(std::future::pending::<Rpc<Ping>>))
            .route("/Small", post(|Rpc(ping): Rpc<Ping>| async { Rpc(ping) }).layer(DefaultBodyLimit::max(8)))
            .route("/Bare", post(|| async { StatusCode::BAD_GATEWAY }));
        let client = served(routes).await;
        assert_eq!(client.call::<_, Ping>("/Ping", &Ping { id: 3 }).await.unwrap().id, 3);
        assert_eq!(client.call::<_, Value>("/Full", &json!({})).await.unwrap_err(), wait);
        for (method, request, code) in [
            ("/Ping", json!({"id": 1, "x": 2}), Code::InvalidArgument),
            ("/Silent", json!({}), Code::DeadlineExceeded),
            ("/Bare", json!({}), Code::Unavailable),
            ("/Small", json!({"id": 1000}), Code::InvalidArgument),
            ("/Nowhere", json!({}), Code::NotFound),
        ] {
            assert_eq!(client.call::<_, Value>(method, &request).await.unwrap_err().code, code, "{method}");
        }
        let nobody = Client::new(Upstream::parse("http://127.0.0.1:1").unwrap(), Duration::from_secs(1)).unwrap();
        assert_eq!(nobody.call::<_, Value>("/Ping", &json!({})).await.unwrap_err().code, Code::Unavailable);
    }

    #[tokio::test]
    async fn a_request_may_be_too_large_or_take_too_long() {
        let small = post(|Rpc(value): Rpc<Value>| async { Rpc(value) }).layer(DefaultBodyLimit::max(8));
        let routes = Router::new().route("/Small", small).route("/Late", post(std::future::pending::<Rpc<Value>>));
        let client = served(time_limit(routes, Duration::from_millis(50))).await;
        for (method, status, answer) in [
            ("/Small", 413, r#"{"code":"resource_exhausted","message":"the request's body is larger than this service takes"}"#),
            ("/Late", 504, r#"{"code":"deadline_exceeded","message":"the request took longer than 0.05 s"}"#),
        ] {
            let sent = client.http.post(format!("{}{method}", client.upstream)).body(r#"{"id": 1000}"#).send().await.unwrap();
            assert_eq!((sent.status().as_u16(), sent.text().await.unwrap().as_str()), (status, answer));
        }
    }
}
