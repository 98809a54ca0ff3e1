use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use provision_apply::{ClusterError, RequestCounts};
use serde_json::Value;

use crate::error::{Subject, from_kube};

/// How long a request is tried again while the API server is away or overloaded.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time in all.
    pub total: Duration,
    /// Longest time for one try.
    pub request: Duration,
}

impl Default for Patience {
    /// 30 s in all (an API server that was killed is back in under 5 s), 30 s a try.
    fn default() -> Self {
        Self { total: Duration::from_secs(30), request: Duration::from_secs(30) }
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

impl Sender {
    /// Sends a repeatable request; transient failures are tried again within the patience.
    pub(crate) async fn patiently(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Value, ClusterError> {
        let deadline = tokio::time::Instant::now() + self.patience.total;
        let mut pause = Duration::from_millis(100);
        loop {
            match self.once(request, purpose, subject).await {
                Err(error) if error.is_transient() && tokio::time::Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                result => return result,
            }
        }
    }

    /// Sends a request one time.
    pub(crate) async fn once(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<Value, ClusterError> {
        let text = self.text(request, purpose, subject).await?;
        // The client library's own parser logs the whole text when it fails; a Secret must not end there.
        serde_json::from_str(&text).map_err(|source| ClusterError::Other {
            message: format!("the API server's answer on {} is no JSON", subject.name),
            source: Some(Box::new(source)),
        })
    }

    /// Sends a request one time and returns the body as text.
    pub(crate) async fn text(&self, request: &Request<Vec<u8>>, purpose: Purpose, subject: &Subject) -> Result<String, ClusterError> {
        self.counters.count(purpose);
        match tokio::time::timeout(self.patience.request, self.client.request_text(request.clone())).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(from_kube(error, subject, &self.server)),
            Err(elapsed) => Err(ClusterError::Unreachable { server: self.server.clone(), source: Box::new(elapsed) }),
        }
    }
}
