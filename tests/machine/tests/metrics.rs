//! The metrics of the operations guide: name, type and labels, counted by what really happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use machine::Machine;
use provision_apply::Cluster;
use provision_model::GroupKind;

/// The tables of the guide: metric, type, labels, and the service that counts it. `le` and `quantile` are the form's own.
const GUIDE: [(&str, &str, &[&str], &str); 17] = [
    ("feature_executions_total", "counter", &["outcome", "state"], "feature-worker"),
    ("feature_execution_duration_seconds", "histogram", &["state"], "feature-worker"),
    ("feature_executions_active", "gauge", &[], "feature-worker"),
    ("feature_steps_total", "counter", &["outcome", "type"], "feature-worker"),
    ("feature_step_duration_seconds", "histogram", &["outcome", "type"], "feature-worker"),
    ("event_bus_consumer_lag", "gauge", &["partition"], "feature-worker"),
    ("event_processing_duration_seconds", "histogram", &["event_type"], "feature-worker"),
    ("event_processing_errors_total", "counter", &["event_type"], "feature-worker"),
    ("git_clone_duration_seconds", "histogram", &["outcome"], "git-service"),
    ("git_push_duration_seconds", "histogram", &["outcome"], "git-service"),
    ("git_operations_total", "counter", &["operation", "outcome"], "git-service"),
    ("git_operations_errors_total", "counter", &["operation", "reason"], "git-service"),
    ("llm_request_duration_seconds", "histogram", &["function"], "llm-orchestrator"),
    ("llm_tokens_total", "counter", &["direction", "function"], "llm-orchestrator"),
    ("llm_requests_total", "counter", &["function", "outcome"], "llm-orchestrator"),
    ("llm_rate_limit_hits_total", "counter", &["function"], "llm-orchestrator"),
    ("sandbox_execution_duration_seconds", "histogram", &["outcome"], "sandbox-manager"),
];

/// What one service exposes: type and labels of each metric.
#[derive(Debug, Default)]
struct Exposed {
    types: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Exposed {
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                self.types.insert(name.to_owned(), kind.to_owned());
            } else if let Some((name, labels)) = line.split_once('{') {
                let labels = labels.split('}').next().unwrap_or_default();
                let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
                let own = names.filter(|name| !["le", "quantile"].contains(&name.as_str()));
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                self.labels.entry(base.to_owned()).or_default().extend(own);
            }
        }
    }
}

async fn exposed(machine: &Machine) -> BTreeMap<String, Exposed> {
    let cluster = machine.cluster().await;
    let surface = cluster.api().await.unwrap();
    let pods = cluster.list(surface.find(&GroupKind::new("", "Pod"), None).unwrap(), None).await.unwrap();
    let mut exposed: BTreeMap<String, Exposed> = BTreeMap::new();
    for pod in pods.items.iter().filter(|pod| pod.text("/status/phase") == Some("Running")) {
        let (app, address) = (pod.text("/metadata/labels/app").unwrap(), pod.text("/status/podIP").unwrap());
        let (status, text) = machine.fetch(&format!("http://{address}:9090/metrics")).await;
        assert_eq!(status, 200, "{app}");
        exposed.entry(app.to_owned()).or_default().read(&String::from_utf8(text).unwrap());
    }
    exposed
}

/// Names the metrics in the expressions of the rendered alerts.
fn metrics_of_alerts(machine: &Machine) -> BTreeSet<String> {
    let rendered = machine.provision(&["render", "--set", "monitoring.enabled=true", "--set", "monitoring.alerts=true"]);
    assert_eq!(rendered.code, Some(0), "{}", rendered.stderr);
    let expressions = rendered.stdout.lines().filter_map(|line| line.trim_start().strip_prefix("expr:"));
    let words = expressions.flat_map(|line| line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'));
    let ours = ["feature_", "event_", "git_", "llm_", "sandbox_"];
    let metrics = words.filter(|word| ours.iter().any(|start| word.starts_with(start)));
    metrics.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_guide_is_counted_and_every_alert_has_its_metric() {
    let machine = Machine::up();
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let good = machine.send(&gateway, &repository, "otters").await;
    let bad = machine.send(&gateway, &repository, "otters [fail-verify]").await;
    let limited = machine.send(&gateway, &repository, "otters [rate-limit:1]").await;
    let lost = machine.send(&gateway, &format!("{}/missing.git", machine.endpoint("git")), "nothing").await;
    let ended = machine.ended(&gateway, &[good, bad, limited, lost], Duration::from_secs(120)).await;
    let states: BTreeSet<&str> = ended.iter().map(|feature| feature.state.as_str()).collect();
    assert_eq!(states, BTreeSet::from(["COMPLETED", "FAILED"]), "{ended:?}");

    let exposed = exposed(&machine).await;
    let mut wrong = Vec::new();
    for (metric, kind, labels, service) in GUIDE {
        let service = &exposed[service];
        let found = service.types.get(metric).map(String::as_str);
        if found != Some(kind) {
            wrong.push(format!("{metric} is {found:?}, not a {kind}"));
        }
        let expected: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let found = service.labels.get(metric).cloned().unwrap_or_default();
        if found != expected {
            wrong.push(format!("{metric} has the labels {found:?}, not {expected:?}"));
        }
    }
    let known: BTreeSet<&str> = exposed.values().flat_map(|service| service.types.keys().map(String::as_str)).collect();
    let alerts = metrics_of_alerts(&machine);
    assert!(alerts.len() > 12, "{alerts:?}");
    wrong.extend(alerts.iter().filter(|metric| !known.contains(metric.as_str())).map(|metric| format!("nobody counts {metric}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
