use http::Request;
use kube::core::discovery::v2::{APIGroupDiscovery, APIGroupDiscoveryList};
use provision_apply::ClusterError;
use provision_model::{ApiResource, ApiSurface, GroupKind};

use crate::error::Subject;
use crate::send::{Purpose, Sender};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Asks what the server serves: two requests (aggregated discovery, Kubernetes 1.26 and later).
pub(crate) async fn discover(sender: &Sender) -> Result<ApiSurface, ClusterError> {
    let subject = Subject { verb: "discover", name: "the served kinds".to_owned(), secret: false };
    let mut resources = Vec::new();
    for path in ["/api", "/apis"] {
        let request = Request::get(path).header(http::header::ACCEPT, AGGREGATED).body(Vec::new());
        let request = request.map_err(|source| subject.failed(source))?;
        let answer = sender.patiently(&request, Purpose::Other, &subject).await?;
        let list: APIGroupDiscoveryList = serde_json::from_value(answer).map_err(|source| ClusterError::Other {
            message: "the API server's list of served kinds can't be read; version 1.26 or later is needed".to_owned(),
            source: Some(Box::new(source)),
        })?;
        resources.extend(list.items.iter().flat_map(kinds_of));
    }
    Ok(ApiSurface { resources })
}

fn kinds_of(group: &APIGroupDiscovery) -> Vec<ApiResource> {
    let name = group.metadata.as_ref().and_then(|metadata| metadata.name.clone()).unwrap_or_default();
    let mut kinds = Vec::new();
    for (place, version) in group.versions.iter().enumerate() {
        for resource in &version.resources {
            let kind = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone());
            let (Some(kind), Some(plural), Some(version)) = (kind, resource.resource.clone(), version.version.clone()) else { continue };
            kinds.push(ApiResource {
                kind: GroupKind::new(name.clone(), kind),
                version,
                plural,
                namespaced: resource.scope.as_deref() == Some("Namespaced"),
                preferred: place == 0,
                listable: ["list", "watch"].iter().all(|verb| resource.verbs.iter().any(|have| have == verb)),
            });
        }
    }
    kinds
}

/// Builds the path of a kind, in a namespace or not, and of one object in it.
pub(crate) fn path(resource: &ApiResource, namespace: Option<&str>, name: Option<&str>) -> String {
    let root = if resource.kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.kind.group) };
    let namespace = match namespace {
        Some(namespace) if resource.namespaced => format!("/namespaces/{namespace}"),
        _ => String::new(),
    };
    let name = name.map_or_else(String::new, |name| format!("/{name}"));
    format!("{root}/{}{namespace}/{}{name}", resource.version, resource.plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_scope_and_name() {
        let resource = |group: &str, version: &str, plural: &str, namespaced| ApiResource {
            kind: GroupKind::new(group, "K"),
            version: version.into(),
            plural: plural.into(),
            namespaced,
            preferred: true,
            listable: true,
        };
        assert_eq!(path(&resource("", "v1", "pods", true), Some("n"), Some("p")), "/api/v1/namespaces/n/pods/p");
        assert_eq!(path(&resource("", "v1", "namespaces", false), None, Some("n")), "/api/v1/namespaces/n");
        assert_eq!(path(&resource("apps", "v1", "deployments", true), None, None), "/apis/apps/v1/deployments");
    }
}
