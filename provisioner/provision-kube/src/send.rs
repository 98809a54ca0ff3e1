use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use kube::client::Body;
use kube::core::Status;
use provision_apply::{ClusterError, RequestCounts};
use serde_json::Value;
use tokio::time::Instant;

use crate::error::{Subject, classify, from_kube};

/// Longest part of an answer that is no JSON which is repeated to the user.
const LONGEST_TEXT: usize = 300;

/// How long a request is tried again while the API server is away or overloaded.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time in all.
    pub total: Duration,
    /// Longest time for one try.
    pub request: Duration,
}

impl Default for Patience {
    /// 45 s in all, 30 s a try: a connection that went silent costs one try and leaves time for another on a new connection.
    fn default() -> Self {
        Self { total: Duration::from_secs(45), request: Duration::from_secs(30) }
    }
}

/// What a request counts as.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    List,
    Get,
    DryRun,
    Write,
    Watch,
    Other,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    lists: AtomicU64,
    gets: AtomicU64,
    dry_runs: AtomicU64,
    writes: AtomicU64,
    watches: AtomicU64,
    others: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, purpose: Purpose) {
        let counter = match purpose {
            Purpose::List => &self.lists,
            Purpose::Get => &self.gets,
            Purpose::DryRun => &self.dry_runs,
            Purpose::Write => &self.writes,
            Purpose::Watch => &self.watches,
            Purpose::Other => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            lists: read(&self.lists),
            gets: read(&self.gets),
            dry_runs: read(&self.dry_runs),
            writes: read(&self.writes),
            watches: read(&self.watches),
            others: read(&self.others),
        }
    }
}

/// Sends requests, counts them and tries transient failures again.
pub(crate) struct Sender {
    pub(crate) client: kube::Client,
    pub(crate) server: String,
    pub(crate) patience: Patience,
    pub(crate) counters: Counters,
}

/// A try that failed.
pub(crate) struct Failure {
    pub(crate) error: ClusterError,
    /// HTTP status of the answer, if there was one.
    status: Option<StatusCode>,
    /// How long the server asks to wait.
    retry_after: Option<Duration>,
}

impl Failure {
    /// Tells whether the server has forgotten the moment that the request refers to.
    pub(crate) fn is_expired(&self) -> bool {
        self.status == Some(StatusCode::GONE)
    }

    /// Returns how long to wait before the next try: what the server asks, but not less than `pause`; none if no try can help.
    fn wait(&self, pause: Duration) -> Option<Duration> {
        self.error.is_transient().then(|| self.retry_after.map_or(pause, |asked| asked.max(pause)))
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self { error, status: None, retry_after: None }
    }
}

impl Sender {
    /// Sends a repeatable request; transient failures are tried again within the patience.
    pub(crate) async fn patiently(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Value, ClusterError> {
        self.try_patiently(request, purpose, subject).await.map_err(|failure| failure.error)
    }

    /// Like [`Sender::patiently`]; the last failure says more.
    pub(crate) async fn try_patiently(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Value, Failure> {
        let deadline = Instant::now() + self.patience.total;
        let mut pause = Duration::from_millis(100);
        loop {
            let failure = match self.exchange(request, purpose, subject).await {
                Ok(body) => return parse(&body, subject).map_err(Failure::from),
                Err(failure) => failure,
            };
            match failure.wait(pause) {
                Some(wait) if Instant::now() + wait < deadline => tokio::time::sleep(wait).await,
                _ => return Err(failure),
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Sends a request one time.
    pub(crate) async fn once(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Value, ClusterError> {
        let body = self.exchange(request, purpose, subject).await.map_err(|failure| failure.error)?;
        parse(&body, subject)
    }

    /// Sends a request one time and returns the body as text; what is no UTF-8 (a log can hold anything, and be cut anywhere) is replaced.
    pub(crate) async fn text(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<String, ClusterError> {
        let body = self.exchange(request, purpose, subject).await.map_err(|failure| failure.error)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a request one time and reads the whole answer.
    ///
    /// Not by the client library's own functions: they hide the `Retry-After` header, and log the server's words, which may quote a Secret.
    async fn exchange(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Vec<u8>, Failure> {
        self.counters.count(purpose);
        let request = request.clone().map(Body::from);
        let answer = async {
            let (head, body) = self.client.send(request).await?.into_parts();
            Ok((head, body.collect_bytes().await?))
        };
        let (head, body) = match tokio::time::timeout(self.patience.request, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(from_kube(error, subject, &self.server).into()),
            Err(elapsed) => {
                return Err(ClusterError::Unreachable { server: self.server.clone(), source: Box::new(elapsed) }.into());
            }
        };
        if head.status.is_success() {
            return Ok(body.into());
        }
        let error = classify(&status_of(head.status, &body), subject);
        Err(Failure { error, status: Some(head.status), retry_after: retry_after(&head.headers) })
    }
}

fn parse(body: &[u8], subject: &Subject) -> Result<Value, ClusterError> {
    serde_json::from_slice(body).map_err(|source| ClusterError::Other {
        message: format!("the API server's answer on {} is no JSON", subject.name),
        source: Some(Box::new(source)),
    })
}

/// Reads what the server says of a failure; proxies and overloaded servers answer with plain text.
pub(crate) fn status_of(code: StatusCode, body: &[u8]) -> Status {
    let said = serde_json::from_slice::<Status>(body).ok().filter(|status| status.code != 0);
    said.unwrap_or_else(|| {
        let text: String = String::from_utf8_lossy(body).trim().chars().take(LONGEST_TEXT).collect();
        Status::failure(&text, code.canonical_reason().unwrap_or_default()).with_code(code.as_u16())
    })
}

/// Reads the number of seconds; dates, which Kubernetes does not send, are passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
