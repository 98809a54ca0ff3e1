//! How the services are: each is asked whether it is ready.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use service_kit::Upstream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Longest time for one service's answer; longer than the 0.8 s that a service gives its own checks.
const LIMIT: Duration = Duration::from_millis(1500);
/// How long an answer is given again, so that many dashboards cost each service one question.
const FRESH: Duration = Duration::from_secs(2);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// A service that is asked.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) upstream: Upstream,
}

/// What the dashboard is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    services: Vec<Health>,
}

#[derive(Clone, Debug, Serialize)]
struct Health {
    name: String,
    /// `ready`, `unready`, `draining` or `unreachable`.
    status: &'static str,
    checks: Vec<Check>,
    /// Time of the answer.
    milliseconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// A service's own answer.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    checks: Vec<Check>,
}

/// The services that the dashboard shows.
pub(crate) struct Services {
    http: reqwest::Client,
    peers: Vec<Peer>,
    last: Mutex<Option<(Instant, Report)>>,
}

impl Services {
    pub(crate) fn new(peers: Vec<Peer>) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT);
        Ok(Self { http: builder.build()?, peers, last: Mutex::default() })
    }

    /// Asks all services at the same time, unless they were asked just now.
    pub(crate) async fn report(&self) -> Report {
        // Held while they are asked: who comes meanwhile waits for the same answers.
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let mut asked = JoinSet::new();
        for (index, peer) in self.peers.iter().cloned().enumerate() {
            let http = self.http.clone();
            asked.spawn(async move { (index, ask(&http, peer).await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_unstable_by_key(|(index, _)| *index);
        let report = Report { services: answers.into_iter().map(|(_, health)| health).collect() };
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

async fn ask(http: &reqwest::Client, peer: Peer) -> Health {
    let started = Instant::now();
    let answer = answer(http, &peer.upstream).await;
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, checks) = match answer {
        Some(answer) => (known(&answer.status), answer.checks),
        None => ("unreachable", Vec::new()),
    };
    Health { name: peer.name, status, checks, milliseconds }
}

async fn answer(http: &reqwest::Client, upstream: &Upstream) -> Option<Answer> {
    let mut response = http.get(format!("{upstream}/readyz")).send().await.ok()?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.ok()? {
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

fn known(status: &str) -> &'static str {
    match status {
        "ready" => "ready",
        "draining" => "draining",
        _ => "unready",
    }
}
