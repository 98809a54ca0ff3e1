//! What a cluster serves: the built-in kinds that the platform uses, and the kinds of established CRDs.

use provision_model::{ApiResource, GroupKind};
use serde_json::Value;

/// One served kind.
#[derive(Debug, Clone)]
pub struct Kind {
    /// As discovery tells it.
    pub resource: ApiResource,
    /// Whether the server counts `metadata.generation`.
    pub generations: bool,
    /// Whether `status` is a subresource, so that a write of the object leaves it alone.
    pub status: bool,
    /// Whether a CRD defines it.
    pub custom: bool,
}

const GENERATIONS: u8 = 1;
const STATUS: u8 = 2;
const CLUSTER: u8 = 4;

/// Group, version, then kind, plural and flags of each of its kinds.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str, u8)]);

const BUILT_IN: &[Group] = &[
    (
        "",
        "v1",
        &[
            ("ConfigMap", "configmaps", 0),
            ("Endpoints", "endpoints", 0),
            ("Event", "events", 0),
            ("LimitRange", "limitranges", 0),
            ("Namespace", "namespaces", CLUSTER | STATUS),
            ("Node", "nodes", CLUSTER | STATUS),
            ("PersistentVolume", "persistentvolumes", CLUSTER | STATUS),
            ("PersistentVolumeClaim", "persistentvolumeclaims", STATUS),
            ("Pod", "pods", STATUS | GENERATIONS),
            ("ReplicationController", "replicationcontrollers", STATUS | GENERATIONS),
            ("ResourceQuota", "resourcequotas", STATUS),
            ("Secret", "secrets", 0),
            ("Service", "services", STATUS),
            ("ServiceAccount", "serviceaccounts", 0),
        ],
    ),
    (
        "apps",
        "v1",
        &[
            ("ControllerRevision", "controllerrevisions", 0),
            ("DaemonSet", "daemonsets", STATUS | GENERATIONS),
            ("Deployment", "deployments", STATUS | GENERATIONS),
            ("ReplicaSet", "replicasets", STATUS | GENERATIONS),
            ("StatefulSet", "statefulsets", STATUS | GENERATIONS),
        ],
    ),
    ("batch", "v1", &[("CronJob", "cronjobs", STATUS | GENERATIONS), ("Job", "jobs", STATUS | GENERATIONS)]),
    ("autoscaling", "v2", &[("HorizontalPodAutoscaler", "horizontalpodautoscalers", STATUS)]),
    ("policy", "v1", &[("PodDisruptionBudget", "poddisruptionbudgets", STATUS | GENERATIONS)]),
    (
        "networking.k8s.io",
        "v1",
        &[
            ("Ingress", "ingresses", STATUS | GENERATIONS),
            ("IngressClass", "ingressclasses", CLUSTER | GENERATIONS),
            ("NetworkPolicy", "networkpolicies", GENERATIONS),
        ],
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        &[
            ("ClusterRole", "clusterroles", CLUSTER),
            ("ClusterRoleBinding", "clusterrolebindings", CLUSTER),
            ("Role", "roles", 0),
            ("RoleBinding", "rolebindings", 0),
        ],
    ),
    ("discovery.k8s.io", "v1", &[("EndpointSlice", "endpointslices", GENERATIONS)]),
    ("coordination.k8s.io", "v1", &[("Lease", "leases", 0)]),
    ("apiextensions.k8s.io", "v1", &[("CustomResourceDefinition", "customresourcedefinitions", CLUSTER | STATUS | GENERATIONS)]),
    ("apiregistration.k8s.io", "v1", &[("APIService", "apiservices", CLUSTER | STATUS)]),
    ("storage.k8s.io", "v1", &[("CSIDriver", "csidrivers", CLUSTER), ("StorageClass", "storageclasses", CLUSTER)]),
    ("scheduling.k8s.io", "v1", &[("PriorityClass", "priorityclasses", CLUSTER | GENERATIONS)]),
    (
        "admissionregistration.k8s.io",
        "v1",
        &[
            ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", CLUSTER | GENERATIONS),
            ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", CLUSTER | STATUS | GENERATIONS),
            ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", CLUSTER | GENERATIONS),
            ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", CLUSTER | GENERATIONS),
        ],
    ),
];

/// Lists the kinds that every API server serves.
pub(crate) fn built_in() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (group, version, members) in BUILT_IN {
        for (kind, plural, flags) in *members {
            kinds.push(Kind {
                resource: ApiResource {
                    kind: GroupKind::new(*group, *kind),
                    version: (*version).to_owned(),
                    plural: (*plural).to_owned(),
                    namespaced: flags & CLUSTER == 0,
                    preferred: true,
                    listable: true,
                },
                generations: flags & GENERATIONS != 0,
                status: flags & STATUS != 0,
                custom: false,
            });
        }
    }
    kinds
}

/// Tells whether the API server itself defines the kinds of a group.
pub(crate) fn is_built_in(group: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _, _)| *built_in == group)
}

/// Lists the kinds that a CRD defines: one for each served version, the newest stable one preferred.
pub(crate) fn of_crd(crd: &Value) -> Vec<Kind> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let versions: Vec<&Value> =
        crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().filter(|version| version["served"] == true).collect();
    let preferred = versions.iter().filter_map(|version| version["name"].as_str()).max_by_key(|name| priority(name)).unwrap_or_default();
    let kind = GroupKind::new(text("/spec/group"), text("/spec/names/kind"));
    let namespaced = text("/spec/scope") == "Namespaced";
    versions
        .iter()
        .filter_map(|version| version["name"].as_str().map(|name| (name, *version)))
        .map(|(name, version)| Kind {
            resource: ApiResource {
                kind: kind.clone(),
                version: name.to_owned(),
                plural: text("/spec/names/plural"),
                namespaced,
                preferred: name == preferred,
                listable: true,
            },
            generations: true,
            status: version.pointer("/subresources/status").is_some(),
            custom: true,
        })
        .collect()
}

/// Orders versions as the API server does: stable before beta before alpha, then the greater number.
fn priority(version: &str) -> (u8, u64, u64) {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    if let Some((major, minor)) = rest.split_once("beta") {
        (2, number(major), number(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (1, number(major), number(minor))
    } else {
        (3, number(rest), 0)
    }
}
