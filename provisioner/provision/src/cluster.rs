//! Where an environment's objects live: a Kubernetes API server, or this machine.

use provision_apply::{Access, Cluster, ClusterError, Deletion, Listing, LogLines, RequestCounts, ServiceAnswer, Watching, WriteMode};
use provision_kube::KubeCluster;
use provision_local::LocalCluster;
use provision_model::{ApiResource, ApiSurface, ClusterIdentity, Manifest, ResourceId};

/// The cluster that an environment's engine stands for.
pub(crate) enum AnyCluster {
    Kubernetes(Box<KubeCluster>),
    Local(LocalCluster),
}

impl AnyCluster {
    /// Names the cluster for people.
    pub(crate) fn server(&self) -> String {
        match self {
            Self::Kubernetes(cluster) => cluster.server().to_owned(),
            Self::Local(cluster) => format!("this machine ({})", cluster.state().display()),
        }
    }
}

/// Passes a call on to the cluster that is there.
macro_rules! pass {
    ($self:ident.$call:ident($($argument:expr),*) $($wait:tt)*) => {
        match $self {
            Self::Kubernetes(cluster) => cluster.$call($($argument),*)$($wait)*,
            Self::Local(cluster) => cluster.$call($($argument),*)$($wait)*,
        }
    };
}

impl Cluster for AnyCluster {
    async fn identity(&self) -> Result<ClusterIdentity, ClusterError> {
        pass!(self.identity().await)
    }

    async fn api(&self) -> Result<ApiSurface, ClusterError> {
        pass!(self.api().await)
    }

    async fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
        pass!(self.list(resource, namespace).await)
    }

    async fn get(&self, id: &ResourceId) -> Result<Option<Manifest>, ClusterError> {
        pass!(self.get(id).await)
    }

    async fn apply(&self, manifest: &Manifest, mode: WriteMode) -> Result<Manifest, ClusterError> {
        pass!(self.apply(manifest, mode).await)
    }

    async fn create(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        pass!(self.create(manifest).await)
    }

    async fn update(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        pass!(self.update(manifest).await)
    }

    async fn delete(&self, id: &ResourceId, uid: Option<&str>) -> Result<Deletion, ClusterError> {
        pass!(self.delete(id, uid).await)
    }

    fn watch(&self, resource: &ApiResource, namespace: Option<&str>) -> Watching {
        pass!(self.watch(resource, namespace))
    }

    async fn logs(&self, pod: &ResourceId, container: &str, previous: bool, lines: u32) -> Result<Vec<String>, ClusterError> {
        pass!(self.logs(pod, container, previous, lines).await)
    }

    fn follow(&self, pod: &ResourceId, container: &str, lines: u32) -> LogLines {
        pass!(self.follow(pod, container, lines))
    }

    async fn get_through_service(&self, service: &ResourceId, port: &str, path: &str) -> Result<ServiceAnswer, ClusterError> {
        pass!(self.get_through_service(service, port, path).await)
    }

    async fn missing_rights(&self, wanted: &[Access]) -> Result<Vec<Access>, ClusterError> {
        pass!(self.missing_rights(wanted).await)
    }

    fn requests(&self) -> RequestCounts {
        pass!(self.requests())
    }
}
