//! Features as a client sends and sees them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::until;

/// A feature as the platform tells of it.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Id.
    pub id: String,
    /// State, in words.
    pub state: String,
    /// The whole answer.
    pub told: Value,
}

impl Feature {
    fn of(told: Value) -> Option<Self> {
        Some(Self { id: told["id"].as_str()?.to_owned(), state: told["state"].as_str()?.to_owned(), told })
    }

    /// Tells whether it has ended, well or not.
    pub fn has_ended(&self) -> bool {
        ["COMPLETED", "FAILED", "CANCELLED"].contains(&self.state.as_str())
    }
}

/// A client of a platform, wherever that runs.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// Prepares a client that goes through no proxy.
    ///
    /// # Panics
    /// When this machine has no source of certificates.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub(crate) fn new() -> Self {
        // Refused only if another test was first, which is as good.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("an HTTP client");
        Self { http }
    }

    /// Calls a method of the feature service through the gateway: status and answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn call(&self, gateway: &str, method: &str, request: &Value) -> Result<(u16, Value), reqwest::Error> {
        self.call_within(gateway, method, request, None).await
    }

    /// Calls a method as part of a trace, which its `traceparent` names.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn call_within(
        &self,
        gateway: &str,
        method: &str,
        request: &Value,
        trace: Option<&str>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("{gateway}/feature.feature.v1.FeatureService/{method}");
        let mut call = self.http.post(url).json(request);
        if let Some(trace) = trace {
            call = call.header("traceparent", trace);
        }
        let answer = call.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Sends a feature, again until it is taken: the same key is the same feature.
    pub async fn send(&self, gateway: &str, repository: &str, key: &str) -> String {
        self.send_within(gateway, repository, key, None).await
    }

    /// Sends a feature as part of a trace.
    pub async fn send_within(&self, gateway: &str, repository: &str, key: &str, trace: Option<&str>) -> String {
        let request = json!({"repository_url": repository, "instruction": format!("Add a page about {key}"), "idempotency_key": key});
        until("a feature is taken", async || {
            let (status, answer) = self.call_within(gateway, "Create", &request, trace).await.ok()?;
            (status == 200).then(|| answer["id"].as_str().map(str::to_owned)).flatten()
        })
        .await
    }

    /// Asks for a feature; none while nobody answers.
    pub async fn feature(&self, gateway: &str, id: &str) -> Option<Feature> {
        let (status, answer) = self.call(gateway, "Get", &json!({"id": id})).await.ok()?;
        (status == 200).then(|| Feature::of(answer)).flatten()
    }

    /// Waits until all of some features have ended.
    ///
    /// # Panics
    /// When one has not within `limit`; with those and their states.
    pub async fn ended(&self, gateway: &str, ids: &[String], limit: Duration) -> Vec<Feature> {
        let end = Instant::now() + limit;
        let mut ended: Vec<Feature> = Vec::new();
        loop {
            let mut open = Vec::new();
            for id in ids.iter().filter(|id| !ended.iter().any(|feature| feature.id == **id)).cloned().collect::<Vec<_>>() {
                match self.feature(gateway, &id).await {
                    Some(feature) if feature.has_ended() => ended.push(feature),
                    other => open.push((id, other.map(|feature| feature.state))),
                }
            }
            if open.is_empty() {
                return ended;
            }
            assert!(Instant::now() < end, "not ended after {limit:?}: {open:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fetches a URL as text: status and body.
    ///
    /// # Panics
    /// When nobody answers.
    #[expect(clippy::expect_used, reason = "a test that can't fetch what it was told of must fail")]
    pub async fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        let answer = self.http.get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.bytes().await.expect("a body").to_vec())
    }
}
