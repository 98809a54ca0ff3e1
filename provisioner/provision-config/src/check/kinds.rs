/// Groups of the kinds that are often named without one.
const GROUPS: [(&str, &[&str]); 12] = [
    ("apps", &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision"]),
    ("batch", &["Job", "CronJob"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("policy", &["PodDisruptionBudget"]),
    ("networking.k8s.io", &["NetworkPolicy", "Ingress", "IngressClass"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    ("storage.k8s.io", &["StorageClass", "CSIDriver", "VolumeAttachment"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("external-secrets.io", &["ExternalSecret", "SecretStore", "ClusterSecretStore"]),
    ("cert-manager.io", &["Certificate", "Issuer", "ClusterIssuer"]),
    ("gateway.networking.k8s.io", &["Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute"]),
];

/// Kinds that live in no namespace.
const CLUSTER_SCOPED: [&str; 17] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "GatewayClass",
    "CustomResourceDefinition",
    "APIService",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "RuntimeClass",
    "ClusterSecretStore",
    "ClusterIssuer",
    "CSIDriver",
];

/// Finds the group of a kind that is written without one; the core group for others.
pub(crate) fn group_of(kind: &str) -> &'static str {
    GROUPS.iter().find_map(|(group, kinds)| kinds.contains(&kind).then_some(*group)).unwrap_or("")
}

/// Tells whether objects of a kind live in no namespace, as far as the name tells.
pub(crate) fn is_cluster_scoped(kind: &str) -> bool {
    CLUSTER_SCOPED.contains(&kind)
}
