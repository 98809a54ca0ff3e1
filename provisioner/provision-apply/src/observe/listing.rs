use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{StreamExt, TryStreamExt, iter};
use provision_model::{ApiResource, ApiSurface, Manifest, ResourceId};

use super::served;
use crate::{ApplyError, Cluster, ClusterError, RunContext};

const PARALLEL: usize = 16;

/// An object to look for, under the version that it was or will be written in.
pub(crate) struct Wish {
    pub(crate) id: ResourceId,
    pub(crate) version: Option<String>,
}

/// One LIST with the objects that are looked for in it.
struct Group {
    resource: ApiResource,
    namespace: Option<String>,
    names: BTreeSet<String>,
}

/// Reads those of the wished objects that are live. Kinds that are not served are not there.
///
/// Where the user may not list a cluster-scoped kind, its objects are read one by one.
pub(crate) async fn list_live<C: Cluster, S, K>(
    cx: &RunContext<C, S, K>,
    api: &ApiSurface,
    wishes: &[Wish],
) -> Result<BTreeMap<ResourceId, Manifest>, ApplyError> {
    let found: Vec<Vec<Manifest>> = iter(groups(api, wishes))
        .map(|group| {
            let cluster = cx.cluster.clone();
            async move { list_group(cluster.as_ref(), &group).await }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().map(|object| (object.id(), object)).collect())
}

fn groups(api: &ApiSurface, wishes: &[Wish]) -> Vec<Group> {
    let mut groups: BTreeMap<(&provision_model::GroupKind, &str, Option<&str>), Group> = BTreeMap::new();
    for wish in wishes {
        let Some(resource) = served(api, &wish.id, wish.version.as_deref()) else { continue };
        let namespace = wish.id.namespace.as_deref().filter(|_| resource.namespaced);
        let group = groups.entry((&resource.kind, resource.version.as_str(), namespace)).or_insert_with(|| Group {
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            names: BTreeSet::new(),
        });
        group.names.insert(wish.id.name.clone());
    }
    groups.into_values().collect()
}

async fn list_group<C: Cluster>(cluster: &C, group: &Group) -> Result<Vec<Manifest>, ApplyError> {
    match cluster.list(&group.resource, group.namespace.as_deref()).await {
        Ok(listing) => Ok(listing.items.into_iter().filter(|object| group.names.contains(object.name())).collect()),
        Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
        Err(ClusterError::Forbidden { .. }) if group.namespace.is_none() => read_each(cluster, group).await,
        Err(error) => {
            let place = group.namespace.as_ref().map(|namespace| format!(" in namespace `{namespace}`")).unwrap_or_default();
            Err(ApplyError::cluster_failed(format!("list {}{place}", group.resource.plural))(error))
        }
    }
}

async fn read_each<C: Cluster>(cluster: &C, group: &Group) -> Result<Vec<Manifest>, ApplyError> {
    let mut found = Vec::new();
    for name in &group.names {
        let id = ResourceId { kind: group.resource.kind.clone(), namespace: None, name: name.clone() };
        let object = cluster.get(&id).await.map_err(ApplyError::cluster_failed(format!("read {id}")))?;
        found.extend(object);
    }
    Ok(found)
}
