use std::sync::Arc;
use std::time::Duration;

use provision_model::{Cause, Desired, Finding, GroupKind, Manifest, ResourceId, Verdict};
use provision_saga::{StepContext, StepError};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use super::work::{Work, failed, interrupted};
use crate::{Clock, Cluster, ClusterError, Progress, SecretStore};

const POLL: Duration = Duration::from_millis(250);
/// How long a Service may take to find its pods once they are ready.
const LIMIT: Duration = Duration::from_secs(30);
const HTTP_PORTS: [&str; 2] = ["http", "metrics"];

/// A Service that must have ready endpoints, and answer where a probe says how to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) service: ResourceId,
    /// Workloads of the release whose pods it selects.
    pub(super) workloads: Vec<ResourceId>,
    /// Port of the Service, and path.
    ask: Option<(String, String)>,
}

impl Target {
    /// Tells whether a request is sent through the Service.
    pub(crate) fn is_asked(&self) -> bool {
        self.ask.is_some()
    }
}

/// Lists the Services that select pods of the set. One whose workloads want no pod needs no endpoint.
pub(crate) fn targets(desired: &Desired) -> Vec<Target> {
    let manifests = || desired.objects.iter().map(|object| &object.manifest);
    let services = manifests().filter(|manifest| manifest.kind() == "Service" && manifest.api_version() == "v1");
    services
        .filter_map(|service| {
            let workloads: Vec<&Manifest> = manifests().filter(|workload| selects(service, workload)).collect();
            let ask = workloads.iter().find_map(|workload| question(service, workload));
            let workloads: Vec<ResourceId> = workloads.iter().map(|workload| workload.id()).collect();
            (!workloads.is_empty()).then(|| Target { service: service.id(), workloads, ask })
        })
        .collect()
}

fn selects(service: &Manifest, workload: &Manifest) -> bool {
    let Some(selector) = service.value().pointer("/spec/selector").and_then(Value::as_object) else { return false };
    let none = Map::new();
    let labels = workload.value().pointer("/spec/template/metadata/labels").and_then(Value::as_object).unwrap_or(&none);
    matches!(workload.kind(), "Deployment" | "StatefulSet" | "DaemonSet")
        && service.namespace() == workload.namespace()
        && !selector.is_empty()
        && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && workload.value().pointer("/spec/replicas").and_then(Value::as_i64) != Some(0)
}

/// Finds the port of the Service that leads to a container's HTTP probe, and the path that the probe asks for.
fn question(service: &Manifest, workload: &Manifest) -> Option<(String, String)> {
    let containers = workload.value().pointer("/spec/template/spec/containers")?.as_array()?;
    containers.iter().find_map(|container| {
        let probe = ["readinessProbe", "livenessProbe"].iter().find_map(|probe| container.get(probe)?.get("httpGet"))?;
        if probe.get("scheme").and_then(Value::as_str).is_some_and(|scheme| scheme != "HTTP") {
            return None;
        }
        let path = probe.get("path").and_then(Value::as_str).unwrap_or("/");
        let probed = number_of(probe.get("port")?, container)?;
        let ports = service.value().pointer("/spec/ports")?.as_array()?;
        let port = ports.iter().find(|port| {
            let name = port.get("name").and_then(Value::as_str);
            let target = port.get("targetPort").or(port.get("port"));
            (ports.len() == 1 || name.is_some_and(|name| HTTP_PORTS.contains(&name)))
                && target.and_then(|target| number_of(target, container)) == Some(probed)
        })?;
        let name = port.get("name").and_then(Value::as_str).map(str::to_owned);
        Some((name.or_else(|| port.get("port").map(Value::to_string))?, path.to_owned()))
    })
}

/// Reads a port that is a number or the name of one of the container's ports.
fn number_of(port: &Value, container: &Value) -> Option<i64> {
    let named = |name: &str| {
        let ports = container.get("ports")?.as_array()?;
        ports.iter().find(|port| port.get("name").and_then(Value::as_str) == Some(name))?.get("containerPort")?.as_i64()
    };
    port.as_i64().or_else(|| named(port.as_str()?))
}

/// Waits until a Service has a ready endpoint and something answers through it.
pub(super) async fn verify<C: Cluster, S: SecretStore, K: Clock>(
    work: Arc<Work<C, S, K>>,
    target: Arc<Target>,
    step: StepContext,
) -> Result<Value, StepError> {
    let end = Instant::now() + LIMIT.min(work.object_timeout);
    loop {
        let missing = match look(&work, &target).await {
            Ok(None) => return Ok(Value::Null),
            Ok(Some(missing)) => missing,
            Err(error) if error.is_transient() => error.to_string(),
            Err(error @ ClusterError::Forbidden { .. }) => {
                let message = format!("{} was not verified: {error}", target.service);
                work.cx.tell(Progress::Finding { finding: Finding::warning("not-verified", message).on(target.service.clone()) });
                return Ok(Value::Null);
            }
            Err(error) => return Err(work.failure(&error)),
        };
        if Instant::now() + POLL >= end {
            let message = work.cx.redactor.clean(&missing);
            let next = format!("compare the selector and ports of {} with the labels and ports of its pods", target.service);
            return Err(failed(Verdict::failed(Cause::Endpoints, message).with_next(next)));
        }
        if timeout(POLL, step.cancel.cancelled()).await.is_ok() {
            return Err(interrupted());
        }
    }
}

/// Says what is missing, if something is.
async fn look<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, target: &Target) -> Result<Option<String>, ClusterError> {
    let service = &target.service;
    if !has_ready_endpoint(work, service).await? {
        return Ok(if wants_no_pod(work, target).await? { None } else { Some(format!("{service} has no ready endpoint")) });
    }
    let Some((port, path)) = &target.ask else { return Ok(None) };
    let answer = work.cx.cluster.get_through_service(service, port, path).await?;
    let good = (200..400).contains(&answer.status);
    Ok((!good).then(|| format!("GET {path} through {service} port {port} answers {}: {}", answer.status, answer.body.trim())))
}

async fn has_ready_endpoint<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    service: &ResourceId,
) -> Result<bool, ClusterError> {
    let slices = provision_model::ApiResource {
        kind: GroupKind::new("discovery.k8s.io", "EndpointSlice"),
        version: "v1".to_owned(),
        plural: "endpointslices".to_owned(),
        namespaced: true,
        preferred: true,
        listable: true,
    };
    let listing = work.cx.cluster.list(&slices, service.namespace.as_deref()).await?;
    let ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
    Ok(listing
        .items
        .iter()
        .filter(|slice| slice.label("kubernetes.io/service-name") == Some(service.name.as_str()))
        .filter_map(|slice| slice.value().get("endpoints")?.as_array())
        .any(|endpoints| endpoints.iter().any(ready)))
}

/// A DaemonSet may select no node, and someone may have scaled a workload to nothing.
async fn wants_no_pod<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, target: &Target) -> Result<bool, ClusterError> {
    for workload in &target.workloads {
        let Some(live) = work.cx.cluster.get(workload).await? else { continue };
        let pointer = if workload.kind.kind == "DaemonSet" { "/status/desiredNumberScheduled" } else { "/spec/replicas" };
        if live.value().pointer(pointer).and_then(Value::as_i64) != Some(0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(value: Value) -> Manifest {
        Manifest::try_from(value).unwrap()
    }

    fn workload() -> Manifest {
        manifest(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "n"},
            "spec": {"template": {"metadata": {"labels": {"app": "api", "tier": "x"}}, "spec": {"containers": [{
                "name": "api", "ports": [{"name": "web", "containerPort": 8080}, {"name": "grpc", "containerPort": 9090}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": "web"}}}]}}}
        }))
    }

    fn service(ports: &Value, selector: &Value) -> Manifest {
        manifest(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "n"},
            "spec": {"selector": selector, "ports": ports}
        }))
    }

    #[test]
    fn a_service_is_asked_where_the_probe_asks() {
        let app = json!({"app": "api"});
        for (ports, expected) in [
            (json!([{"name": "http", "port": 80, "targetPort": "web"}, {"name": "grpc", "port": 90, "targetPort": 9090}]), Some("http")),
            (json!([{"name": "metrics", "port": 8080}]), Some("metrics")),
            (json!([{"port": 80, "targetPort": 8080}]), Some("80")),
            (json!([{"name": "grpc", "port": 90, "targetPort": "grpc"}]), None),
            (json!([{"name": "https", "port": 443, "targetPort": 8080}, {"name": "grpc", "port": 90, "targetPort": 9090}]), None),
        ] {
            let found = question(&service(&ports, &app), &workload());
            assert_eq!(found, expected.map(|port| (port.to_owned(), "/readyz".to_owned())), "{ports}");
        }
    }

    #[test]
    fn a_service_needs_what_it_selects() {
        let ports = json!([{"port": 80}]);
        assert!(selects(&service(&ports, &json!({"app": "api"})), &workload()));
        assert!(!selects(&service(&ports, &json!({"app": "other"})), &workload()));
        assert!(!selects(&service(&ports, &json!({})), &workload()));
        assert!(!selects(&service(&ports, &Value::Null), &workload()));
    }
}
