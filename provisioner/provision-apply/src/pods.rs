//! Which pods belong to what a release runs.

use std::collections::BTreeSet;

use provision_model::{GroupKind, Manifest, ResourceId, Scope};
use serde_json::Value;

use crate::{ApplyError, Clock, Cluster, RunContext, SecretStore, observe};

/// A pod of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Id.
    pub id: ResourceId,
    /// The object of the release that it belongs to.
    pub workload: ResourceId,
    /// Names of its init containers, then of its containers.
    pub containers: Vec<String>,
}

/// Lists the pods of a release's workloads and Jobs, by workload and name.
///
/// # Errors
/// [`ApplyError`] when the cluster or the record can't be read.
pub async fn pods<C: Cluster, S: SecretStore, K: Clock>(cx: &RunContext<C, S, K>, scope: &Scope) -> Result<Vec<Pod>, ApplyError> {
    let observed = observe(cx, scope, &[]).await?;
    let owners: Vec<(&ResourceId, &Manifest)> =
        observed.recorded.keys().filter_map(|id| Some((id, observed.live.get(id)?))).filter(|(_, live)| selector(live).is_some()).collect();
    let kind = GroupKind::new("", "Pod");
    let Some(resource) = observed.api.find(&kind, None) else { return Ok(Vec::new()) };
    let namespaces: BTreeSet<&str> = owners.iter().filter_map(|(id, _)| id.namespace.as_deref()).collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        let listing = cx.cluster.list(resource, Some(namespace)).await;
        let listing = listing.map_err(ApplyError::cluster_failed(format!("list the pods of namespace {namespace}")))?;
        for pod in listing.items {
            let owner = owners.iter().find(|(id, live)| id.namespace.as_deref() == Some(namespace) && selects(live, &pod));
            if let Some((workload, _)) = owner {
                found.push(Pod { id: pod.id(), workload: (*workload).clone(), containers: containers(&pod) });
            }
        }
    }
    found.sort_by(|one, other| (&one.workload, &one.id).cmp(&(&other.workload, &other.id)));
    Ok(found)
}

/// Returns the labels that pods of a workload or Job have.
fn selector(owner: &Manifest) -> Option<&serde_json::Map<String, Value>> {
    let workload = ["Deployment", "StatefulSet", "DaemonSet", "Job"].contains(&owner.kind());
    owner.value().pointer("/spec/selector/matchLabels").filter(|_| workload)?.as_object().filter(|labels| !labels.is_empty())
}

fn selects(owner: &Manifest, pod: &Manifest) -> bool {
    let labels = pod.value().pointer("/metadata/labels");
    selector(owner).is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value)))
}

fn containers(pod: &Manifest) -> Vec<String> {
    let of = |group: &str| pod.value().pointer(&format!("/spec/{group}")).and_then(Value::as_array).cloned().unwrap_or_default();
    let all = of("initContainers").into_iter().chain(of("containers"));
    all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}
