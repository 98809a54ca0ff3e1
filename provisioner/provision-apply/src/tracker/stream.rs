use std::collections::HashSet;

use provision_model::{ApiResource, GroupKind, ResourceId};

use crate::ClusterError;
use crate::health::is_custom;

/// One watch: a kind in a namespace, or a cluster-scoped kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StreamKey {
    pub(crate) kind: GroupKind,
    pub(crate) namespace: Option<String>,
}

impl StreamKey {
    pub(crate) fn of(id: &ResourceId) -> Self {
        Self { kind: id.kind.clone(), namespace: id.namespace.clone() }
    }
}

/// What is known about one watch.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// UIDs of the objects that it told.
    pub(super) members: HashSet<String>,
    /// UIDs told since the running listing began; none when no listing runs.
    pub(super) told: Option<HashSet<String>>,
    /// Number of listings begun.
    pub(super) begun: u64,
    /// Number of the last listing that was told in full.
    pub(super) synced: u64,
    /// Why it tells nothing at the moment.
    pub(super) trouble: Option<Trouble>,
}

/// Why a watch tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    /// Whether it will not pass by itself: forbidden, not served.
    pub(crate) lasting: bool,
    /// Whether the kind is not served at all.
    pub(crate) not_served: bool,
}

impl Trouble {
    pub(crate) fn of(error: &ClusterError) -> Self {
        let not_served = matches!(error, ClusterError::NotFound { .. });
        let lasting = not_served || matches!(error, ClusterError::Forbidden { .. });
        Self { message: error.to_string(), lasting, not_served }
    }
}

impl Stream {
    pub(super) fn opened() -> Self {
        Self { told: Some(HashSet::new()), begun: 1, ..Self::default() }
    }

    /// Tells whether there is nothing more to wait for before judging: told in full, or closed to us.
    pub(super) fn is_settled(&self) -> bool {
        self.synced > 0 || self.trouble.as_ref().is_some_and(|trouble| trouble.lasting)
    }
}

/// Lists the watches that the verdict about an object needs, its own kind first.
pub(super) fn needed(id: &ResourceId) -> Vec<StreamKey> {
    let around: &[(&str, &str)] = match (id.kind.group.as_str(), id.kind.kind.as_str()) {
        ("apps", "Deployment") => &[("apps", "ReplicaSet"), ("", "Pod"), ("", "Event"), ("", "PersistentVolumeClaim")],
        ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") => {
            &[("", "Pod"), ("", "Event"), ("", "PersistentVolumeClaim")]
        }
        ("", "Pod") => &[("", "Event"), ("", "PersistentVolumeClaim")],
        ("", "PersistentVolumeClaim" | "Service") => &[("", "Event")],
        _ => &[],
    };
    let around = around.iter().map(|(group, kind)| StreamKey { kind: GroupKind::new(*group, *kind), namespace: id.namespace.clone() });
    std::iter::once(StreamKey::of(id)).chain(around).collect()
}

/// Returns how the API server serves the kinds that surround workloads, which need no discovery.
pub(super) fn well_known(kind: &GroupKind) -> Option<ApiResource> {
    let plural = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "ReplicaSet") => "replicasets",
        ("", "Pod") => "pods",
        ("", "Event") => "events",
        ("", "PersistentVolumeClaim") => "persistentvolumeclaims",
        _ => return None,
    };
    Some(ApiResource {
        kind: kind.clone(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
        preferred: true,
        listable: true,
    })
}

/// Returns the name of the definition behind a custom kind.
pub(super) fn definition_of(resource: &ApiResource) -> Option<ResourceId> {
    is_custom(&resource.kind).then(|| {
        let name = format!("{}.{}", resource.plural, resource.kind.group);
        ResourceId::cluster("apiextensions.k8s.io", "CustomResourceDefinition", &name)
    })
}
