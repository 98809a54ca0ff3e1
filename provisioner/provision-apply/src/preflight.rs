//! What has to be so before a run may begin.

use std::collections::{BTreeMap, BTreeSet};

use provision_model::{ApiSurface, Desired, Finding, GroupKind, Manifest, ResourceId};

use crate::observe::dependencies;
use crate::run::verification_targets;
use crate::{Access, ApplyError, Cluster, ClusterError, RunContext};

const OBJECT_VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// What a run can't find out without a right that it can do without.
const UNSEEN: &str = "if a workload fails, its cause may not be named";
const NO_LOGS: &str = "failures will come without log lines";
const UNVERIFIED: &str = "whether Services answer will not be verified";

/// Checks that the cluster answers, serves what the set needs, and lets the user do it. Reads only.
///
/// Findings: `api-version-not-served` with the versions that are, `kind-not-served`, `forbidden` for each missing right: fatal, but a
/// warning for what a run only needs to explain and to verify.
///
/// # Errors
/// [`ApplyError::Cluster`] when the cluster can't be reached or does not accept the credentials.
pub async fn preflight<C: Cluster, S, K>(cx: &RunContext<C, S, K>, desired: &Desired) -> Result<Vec<Finding>, ApplyError> {
    let api = cx.cluster.api().await.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    let mut findings = served(&api, desired);
    let mut needed = rights(&api, desired);
    needed.extend(state_namespace(cx, desired).await?);
    let useful = useful_rights(desired);
    let wanted: Vec<Access> = needed.iter().chain(useful.keys().filter(|access| !needed.contains(*access))).cloned().collect();
    let missing = cx.cluster.missing_rights(&wanted).await.map_err(ApplyError::cluster_failed("ask which rights there are"))?;
    findings.extend(missing.into_iter().map(|access| match useful.get(&access).filter(|_| !needed.contains(&access)) {
        Some(loss) => Finding::warning("forbidden", format!("you may not {access}: {loss}")).help("ask for a role with this right"),
        None => {
            Finding::fatal("forbidden", format!("you may not {access}")).help("ask for a role with this right, or use other credentials")
        }
    }));
    Ok(findings)
}

/// Returns the right that the namespace of the record needs: none when it is there.
async fn state_namespace<C: Cluster, S, K>(cx: &RunContext<C, S, K>, desired: &Desired) -> Result<Option<Access>, ApplyError> {
    let id = ResourceId::cluster("", "Namespace", &desired.policy.state_namespace);
    match cx.cluster.get(&id).await {
        Ok(Some(_)) => Ok(None),
        Ok(None) => Ok(Some(access("create", "", "namespaces", None))),
        Err(ClusterError::Forbidden { .. }) => Ok(Some(access("get", "", "namespaces", None))),
        Err(error) => Err(ApplyError::cluster_failed(format!("read {id}"))(error)),
    }
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

fn access(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Access {
    Access { verb: verb.to_owned(), group: group.to_owned(), resource: resource.to_owned(), namespace: namespace.map(str::to_owned) }
}

/// Lists what no run can do without.
fn rights(api: &ApiSurface, desired: &Desired) -> BTreeSet<Access> {
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
    }
    for ResourceId { kind, namespace, .. } in dependencies(&desired.objects) {
        let Some(resource) = api.find(kind, None) else { continue };
        rights.insert(access("list", &kind.group, &resource.plural, namespace.as_deref()));
    }
    rights
}

/// Lists what a run uses to explain failures and to verify, each with what is lost without it.
fn useful_rights(desired: &Desired) -> BTreeMap<Access, &'static str> {
    let mut rights = BTreeMap::new();
    let runs_pods = |manifest: &&Manifest| manifest.value().pointer("/spec/template/spec/containers").is_some();
    let workloads = desired.objects.iter().map(|object| &object.manifest).filter(runs_pods);
    for namespace in workloads.filter_map(Manifest::namespace).collect::<BTreeSet<_>>() {
        for (group, resource) in [("", "pods"), ("", "events"), ("", "persistentvolumeclaims"), ("apps", "replicasets")] {
            rights.extend(["list", "watch"].map(|verb| (access(verb, group, resource, Some(namespace)), UNSEEN)));
        }
        rights.insert(access("get", "", "pods/log", Some(namespace)), NO_LOGS);
    }
    for target in verification_targets(desired) {
        let namespace = target.service.namespace.as_deref();
        rights.insert(access("list", "discovery.k8s.io", "endpointslices", namespace), UNVERIFIED);
        if target.is_asked() {
            rights.insert(access("get", "", "services/proxy", namespace), UNVERIFIED);
        }
    }
    rights
}
