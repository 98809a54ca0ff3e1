//! What the log says of a request.
//!
//! The protocol's library writes whole requests, with the signatures of URLs signed in advance, and each 404 as an error. So it works
//! without a log, and the failures that matter are reported from here.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::service::S3Service;
use tracing::Dispatch;
use tracing::dispatcher::{get_default, with_default};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::store::StoreError;

/// The log, kept for work that is done without one.
#[derive(Clone)]
pub(crate) struct Reporter(Dispatch);

impl Reporter {
    /// Keeps the log that is in use here.
    pub(crate) fn here() -> Self {
        Self(get_default(Clone::clone))
    }

    /// Reports a failure that is the store's, not the client's.
    pub(crate) fn failure(&self, error: &StoreError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        with_default(&self.0, || tracing::error!(%error, cause, "a request failed"));
    }

    /// Reports a failure of the protocol's library.
    fn broken(&self) {
        with_default(&self.0, || tracing::error!("an answer could not be written"));
    }
}

/// The S3 protocol, without its own log.
#[derive(Clone)]
pub(crate) struct Answerer {
    service: S3Service,
    reporter: Reporter,
}

impl Answerer {
    pub(crate) fn new(service: S3Service, reporter: Reporter) -> Self {
        Self { service, reporter }
    }
}

/// Answers any S3 request.
pub(crate) async fn answer(State(answerer): State<Answerer>, request: Request) -> Response {
    let request = request.map(s3s::Body::http_body_unsync);
    match answerer.service.call(request).with_subscriber(NoSubscriber::default()).await {
        Ok(response) => response.map(Body::new),
        Err(_) => {
            answerer.reporter.broken();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
