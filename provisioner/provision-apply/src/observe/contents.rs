use std::collections::BTreeMap;

use futures::stream::{StreamExt, iter};
use provision_model::{ApiResource, Manifest, ResourceId};

use crate::{ApplyError, Cluster, ClusterError, RunContext};

const PARALLEL: usize = 16;

/// Lists what is in the given namespaces: every object without an owner that somebody put there. Read only when they would be deleted.
///
/// A namespace in which something can't be listed is left out: nobody knows then what a deletion would destroy.
///
/// # Errors
/// [`ApplyError::Cluster`] when the cluster can't be read at all.
pub async fn contents<C: Cluster, S, K>(
    cx: &RunContext<C, S, K>,
    namespaces: &[String],
) -> Result<BTreeMap<String, Vec<ResourceId>>, ApplyError> {
    if namespaces.is_empty() {
        return Ok(BTreeMap::new());
    }
    let api = cx.cluster.api().await.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    let kinds: Vec<ApiResource> = api.resources.into_iter().filter(is_somebodys).collect();
    let mut contents = BTreeMap::new();
    for namespace in namespaces {
        let listed: Vec<Result<Vec<ResourceId>, ClusterError>> = iter(kinds.clone())
            .map(|kind| {
                let (cluster, namespace) = (cx.cluster.clone(), namespace.clone());
                async move {
                    match cluster.list(&kind, Some(&namespace)).await {
                        Ok(listing) => Ok(listing.items.iter().filter(|object| is_put_there(object)).map(Manifest::id).collect()),
                        Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
                        Err(error) => Err(error),
                    }
                }
            })
            .buffered(PARALLEL)
            .collect()
            .await;
        match listed.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(found) => {
                contents.insert(namespace.clone(), found.into_iter().flatten().collect());
            }
            Err(ClusterError::Forbidden { .. }) => {}
            Err(error) => return Err(ApplyError::cluster_failed(format!("look into namespace `{namespace}`"))(error)),
        }
    }
    Ok(contents)
}

/// Tells whether objects of the kind are made by people or tools, not by the cluster about others.
fn is_somebodys(resource: &ApiResource) -> bool {
    let made_by_the_cluster = ["Event", "Endpoints", "EndpointSlice", "PodMetrics", "ControllerRevision"];
    resource.namespaced
        && resource.listable
        && resource.preferred
        && resource.kind.group != "metrics.k8s.io"
        && !made_by_the_cluster.contains(&resource.kind.kind.as_str())
}

fn is_put_there(object: &Manifest) -> bool {
    let owned = object.value().pointer("/metadata/ownerReferences").and_then(serde_json::Value::as_array);
    owned.is_none_or(Vec::is_empty) && !object.id().is_in_every_namespace() && !object.is_terminating()
}
