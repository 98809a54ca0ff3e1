//! What has to be so before a run may begin.

use std::collections::BTreeSet;

use provision_model::{ApiSurface, Desired, Finding, GroupKind, Manifest, ResourceId};

use crate::{Access, ApplyError, Cluster, RunContext};

const OBJECT_VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// Checks that the cluster answers, serves what the set needs, and lets the user do it. Reads only.
///
/// Findings: `api-version-not-served` with the versions that are, `kind-not-served`, `forbidden` for each missing right.
///
/// # Errors
/// [`ApplyError::Cluster`] when the cluster can't be reached or does not accept the credentials.
pub async fn preflight<C: Cluster, S, K>(cx: &RunContext<C, S, K>, desired: &Desired) -> Result<Vec<Finding>, ApplyError> {
    let api = cx.cluster.api().await.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    let mut findings = served(&api, desired);
    let wanted: Vec<Access> = rights(&api, desired).into_iter().collect();
    let missing = cx.cluster.missing_rights(&wanted).await.map_err(ApplyError::cluster_failed("ask which rights there are"))?;
    findings.extend(missing.into_iter().map(|access| {
        Finding::fatal("forbidden", format!("you may not {access}")).help("ask for a role with this right, or use other credentials")
    }));
    Ok(findings)
}

fn served(api: &ApiSurface, desired: &Desired) -> Vec<Finding> {
    let defined: BTreeSet<GroupKind> = desired.objects.iter().filter_map(|object| defined(&object.manifest)).collect();
    let unknown = desired.objects.iter().filter_map(|object| {
        let (manifest, kind) = (&object.manifest, object.manifest.group_kind());
        if api.find(&kind, Some(manifest.version())).is_some() || defined.contains(&kind) {
            return None;
        }
        let versions = api.versions(&kind);
        let finding = if versions.is_empty() {
            Finding::fatal("kind-not-served", format!("the cluster does not serve {kind}"))
                .help("install what defines it, or put its CustomResourceDefinition into the set")
        } else {
            let message = format!("the cluster does not serve {} {}", manifest.api_version(), manifest.kind());
            let replacement = if kind.group.is_empty() { versions.join(", ") } else { format!("{}/{}", kind.group, versions.join(", ")) };
            Finding::fatal("api-version-not-served", message).help(format!("use {replacement}"))
        };
        Some(finding.on(object.id()).at(object.origin.clone()))
    });
    unknown.collect()
}

fn defined(manifest: &Manifest) -> Option<GroupKind> {
    let is_definition = manifest.kind() == "CustomResourceDefinition";
    is_definition.then(|| Some(GroupKind::new(manifest.text("/spec/group")?, manifest.text("/spec/names/kind")?))).flatten()
}

fn rights(api: &ApiSurface, desired: &Desired) -> BTreeSet<Access> {
    let access = |verb: &str, group: &str, resource: &str, namespace: Option<&str>| Access {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    let state = Some(desired.policy.state_namespace.as_str());
    let mut rights: BTreeSet<Access> = BTreeSet::new();
    for (group, resource, verbs) in [
        ("", "configmaps", &["get", "list", "create", "update", "delete"][..]),
        ("coordination.k8s.io", "leases", &["get", "create", "update"][..]),
    ] {
        rights.extend(verbs.iter().map(|verb| access(verb, group, resource, state)));
    }
    for object in &desired.objects {
        let ResourceId { kind, namespace, .. } = object.id();
        let Some(resource) = api.find(&kind, Some(object.manifest.version())) else { continue };
        let namespace = namespace.as_deref().filter(|_| resource.namespaced);
        rights.extend(OBJECT_VERBS.iter().map(|verb| access(verb, &kind.group, &resource.plural, namespace)));
        if let Some(namespace) = namespace.filter(|_| object.manifest.value().pointer("/spec/template/spec/containers").is_some()) {
            let looked_at = [("", "pods"), ("", "events"), ("discovery.k8s.io", "endpointslices")];
            rights.extend(looked_at.iter().map(|(group, resource)| access("list", group, resource, Some(namespace))));
        }
    }
    rights
}
