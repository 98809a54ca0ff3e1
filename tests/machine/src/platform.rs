//! One feature from the request to the branch, the same on every engine.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use provision_apply::Cluster;
use provision_model::GroupKind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bus::all_events;
use crate::{Client, Ended, Machine, until};

/// The services that work on a feature; the log of each tells of its trace, and each has spans in it.
pub(crate) const SERVICES: [&str; 7] =
    ["api-gateway", "feature-service", "feature-worker", "repository-service", "git-service", "llm-orchestrator", "sandbox-manager"];

/// What must have been counted after a feature: the service, the metric, and one of its labels.
const COUNTED: [(&str, &str, &str); 6] = [
    ("feature-worker", "feature_executions_total", "outcome=\"completed\""),
    ("feature-worker", "feature_steps_total", "type=\"artifacts\""),
    ("git-service", "git_push_duration_seconds_count", "outcome="),
    ("llm-orchestrator", "llm_tokens_total", "direction=\"output\""),
    ("sandbox-manager", "sandbox_execution_duration_seconds_count", "outcome="),
    ("feature-worker", "event_bus_consumer_lag", "partition="),
];

/// How a platform is reached from this machine.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Address of the gateway.
    pub gateway: String,
    /// The demo repository, as the platform reaches it.
    pub repository: String,
    /// The same repository, as this machine reaches it.
    pub clone_from: String,
    /// A broker of the event bus.
    pub broker: String,
}

/// A feature that has become a branch.
#[derive(Debug, Clone)]
pub struct Worked {
    /// Its id.
    pub id: String,
    /// The trace that asked for it.
    pub trace_id: String,
    /// The span that asked for it, which is the client's own.
    pub span_id: String,
}

/// A platform that runs.
pub trait Platform {
    /// Says how it is reached.
    fn ways(&self) -> impl Future<Output = Ways>;
    /// Runs the program on it.
    fn provision(&self, arguments: &[&str]) -> Ended;
    /// Returns what all pods of a service expose.
    fn metrics(&self, service: &str) -> impl Future<Output = String>;
}

impl Platform for Machine {
    async fn ways(&self) -> Ways {
        let repository = format!("{}/demo.git", self.endpoint("git"));
        Ways { gateway: self.endpoint("gateway"), clone_from: repository.clone(), repository, broker: self.broker().await }
    }

    fn provision(&self, arguments: &[&str]) -> Ended {
        Self::provision(self, arguments)
    }

    async fn metrics(&self, service: &str) -> String {
        let mut all = String::new();
        for address in addresses(self, service).await {
            let (status, text) = self.fetch(&format!("http://{address}:9090/metrics")).await;
            assert_eq!(status, 200, "{service}");
            all.push_str(&String::from_utf8_lossy(&text));
        }
        all
    }
}

/// Lists the addresses of a service's pods that run.
#[expect(clippy::expect_used, reason = "a platform that does not answer must fail the test")]
async fn addresses(machine: &Machine, service: &str) -> Vec<String> {
    let cluster = machine.cluster().await;
    let surface = cluster.api().await.expect("an answer");
    let kind = surface.find(&GroupKind::new("", "Pod"), None).expect("pods");
    let pods = cluster.list(kind, None).await.expect("an answer").items;
    let wanted =
        pods.iter().filter(|pod| pod.text("/status/phase") == Some("Running") && pod.text("/metadata/labels/app") == Some(service));
    wanted.filter_map(|pod| pod.text("/status/podIP").map(str::to_owned)).collect()
}

/// Sends a feature that no other run has sent, and checks everything that comes of it.
///
/// # Panics
/// When something is missing: the branch, an artifact, an event, a metric, a log line of the trace.
pub async fn a_feature_becomes_a_branch(platform: &impl Platform) -> Worked {
    let (client, ways) = (Client::new(), platform.ways().await);
    let key = unique();
    let (trace_id, span_id) = (&hex::encode(Sha256::digest(&key))[..32], "00f067aa0ba902b7");
    let trace = format!("00-{trace_id}-{span_id}-01");
    let id = client.send_within(&ways.gateway, &ways.repository, &key, Some(&trace)).await;
    assert_eq!(client.send(&ways.gateway, &ways.repository, &key).await, id, "the same key is the same feature");
    let ended = client.ended(&ways.gateway, std::slice::from_ref(&id), Duration::from_secs(120)).await;
    assert_eq!(ended[0].state, "COMPLETED", "{:?}", ended[0].told);

    branch(&ways, &id, &ended[0].told);
    artifacts(&client, &ended[0].told).await;
    events(&client, &ways, &id, trace_id).await;
    metrics(platform).await;
    logs(platform, trace_id).await;
    Worked { id, trace_id: trace_id.to_owned(), span_id: span_id.to_owned() }
}

/// A key of this run: its process and its time.
fn unique() -> String {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("otters-{}-{}", std::process::id(), time.as_nanos())
}

fn branch(ways: &Ways, id: &str, told: &Value) {
    let branch = format!("feature/{id}");
    assert_eq!(told["branch"], branch.as_str());
    #[expect(clippy::expect_used, reason = "a test without a folder must fail")]
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work").display().to_string();
    git(&["clone", "--quiet", "--branch", &branch, &ways.clone_from, &work]);
    let changed = git(&["-C", &work, "diff", "--name-only", "origin/main", "HEAD"]);
    assert!(changed.starts_with("features/") && changed.ends_with(".md") && changed.lines().count() == 1, "{changed}");
}

#[expect(clippy::expect_used, reason = "a test without git must fail")]
fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn artifacts(client: &Client, told: &Value) {
    let artifacts = told["artifacts"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(artifacts.len(), 2, "{artifacts:?}");
    for artifact in artifacts {
        let (status, content) = client.fetch(artifact["url"].as_str().unwrap_or_default()).await;
        assert_eq!(status, 200, "{artifact}");
        assert_eq!(hex::encode(Sha256::digest(&content)), artifact["sha256"].as_str().unwrap_or_default());
    }
}

#[expect(clippy::expect_used, reason = "a platform that does not answer must fail the test")]
async fn events(client: &Client, ways: &Ways, id: &str, trace_id: &str) {
    let (_, timeline) = client.call(&ways.gateway, "Timeline", &json!({"id": id})).await.expect("a timeline");
    let steps = timeline["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let steps: Vec<&str> = steps.iter().filter_map(|step| step["step_type"].as_str()).collect();
    assert_eq!(steps, ["look", "plan", "patch", "push", "verify", "artifacts"]);
    let expected: Vec<i64> = (0..).take(timeline["events"].as_array().map_or(0, Vec::len)).collect();
    let told = until("the bus tells all events", async || {
        let told = all_events(ways.broker.clone()).await.remove(id)?;
        (told.len() >= expected.len()).then_some(told)
    })
    .await;
    let sequences: Vec<i64> = told.iter().filter_map(|told| told.event["sequence"].as_i64()).collect();
    assert_eq!(sequences, expected, "the bus tells what the timeline tells, once and in order");
    let traces: BTreeSet<&str> = told.iter().filter_map(|told| told.trace.as_deref()?.split('-').nth(1)).collect();
    assert_eq!(traces, BTreeSet::from([trace_id]), "every event is in the trace that asked for the feature");
}

async fn metrics(platform: &impl Platform) {
    for (service, metric, label) in COUNTED {
        let text = platform.metrics(service).await;
        let counted = text.lines().filter(|line| line.split('{').next() == Some(metric) && line.contains(label));
        let values: Vec<f64> = counted.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        let is_gauge = metric.ends_with("_lag");
        assert!(
            !values.is_empty() && (is_gauge || values.iter().sum::<f64>() > 0.0),
            "{service} counts no {metric} with {label}: {values:?}"
        );
    }
}

/// Waits for the logs: they come by way of whoever keeps them.
async fn logs(platform: &impl Platform, trace_id: &str) {
    for service in SERVICES {
        until(&format!("the log of {service} tells of the trace"), async || {
            let logs = platform.provision(&["logs", service, "--tail", "100000"]);
            (logs.code == Some(0) && logs.stdout.contains(trace_id)).then_some(())
        })
        .await;
    }
}
