use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::platform::on;
use super::{ConfigKeys, Entries, IntOrText, Metrics, Port, Probes, Resources, Security, Volume};

/// The kind of object that runs a service's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// Pods that are all alike.
    Deployment,
    /// Pods with names and volumes of their own.
    StatefulSet,
    /// One pod a node.
    DaemonSet,
}

/// The namespace in which a service runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// With the others, where pods are restricted.
    #[default]
    Platform,
    /// Where pods may use the node.
    Sandbox,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The kind of object that runs it.
    pub kind: WorkloadKind,
    /// Whether it is rendered.
    #[serde(default = "on")]
    pub enabled: bool,
    /// The namespace in which it runs.
    #[serde(default)]
    pub placement: Placement,
    /// Image by its name in `images`; the service's name when left out.
    #[serde(default)]
    pub image: Option<String>,
    /// Command.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Service account; the service's name when left out.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Whether pods get a token of the service account.
    #[serde(default)]
    pub mount_token: bool,
    /// Pods; not for a DaemonSet.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<u32>,
    /// Requests and limits of the container.
    #[serde(default)]
    pub resources: Resources,
    /// The autoscaler, if one.
    #[serde(default)]
    pub autoscaling: Option<Autoscaling>,
    /// The disruption budget, if one.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// Ports of the container and of its Service.
    #[serde(default)]
    #[schemars(extend("x-merge-key" = "name"))]
    pub ports: Vec<Port>,
    /// Whether the Service has no address of its own.
    #[serde(default)]
    pub headless: bool,
    /// Whether a caller reaches only the pod on its own node.
    #[serde(default)]
    pub node_local: bool,
    /// Probes.
    #[serde(default)]
    pub probes: Probes,
    /// Where metrics are read, if anywhere.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// Variables.
    #[serde(default)]
    pub env: Entries<String>,
    /// Variables from fields of the pod: name to field path.
    #[serde(default)]
    pub env_fields: Entries<String>,
    /// Variables that name an image: name to the image's name in `images`.
    #[serde(default)]
    pub env_images: Entries<String>,
    /// Names of the secret values that it reads.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Keys of `config` that it reads, or `all`.
    #[serde(default)]
    pub config: ConfigKeys,
    /// Seconds that a pod has to end.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86400))]
    pub grace_seconds: Option<u32>,
    /// Seconds that a pod must be ready before it counts.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: Option<u32>,
    /// Longest time for the whole rollout.
    #[serde(default)]
    pub timeout: Option<super::Period>,
    /// How pods are exchanged.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// Whether the pods of a StatefulSet start one after another or together.
    #[serde(default)]
    pub pod_management: Option<PodManagement>,
    /// Volumes.
    #[serde(default)]
    #[schemars(extend("x-merge-key" = "name"))]
    pub volumes: Vec<Volume>,
    /// What the container may do.
    #[serde(default)]
    pub security: Security,
    /// Whether pods avoid nodes that have one already.
    #[serde(default)]
    pub anti_affinity: AntiAffinity,
    /// Labels of the nodes on which it may run.
    #[serde(default)]
    pub node_selector: Entries<String>,
    /// Taints that it tolerates, as Kubernetes writes them.
    #[serde(default)]
    pub tolerations: Vec<Value>,
    /// Priority class.
    #[serde(default)]
    pub priority_class: Option<String>,
    /// Services that may call it.
    #[serde(default)]
    pub allow_from: Vec<String>,
    /// Whether the way in may call it.
    #[serde(default)]
    pub allow_ingress: bool,
    /// Name under which `status` tells the address that clients outside use.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Services and dependencies that it may call.
    #[serde(default)]
    pub egress: Vec<String>,
    /// Whether it waits for the migration Job.
    #[serde(default)]
    pub migrated: bool,
    /// Objects that must be ready first, as the annotation `provision.dev/depends-on` names them.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Labels of the pods.
    #[serde(default)]
    pub labels: Entries<String>,
    /// Annotations of the pods.
    #[serde(default)]
    pub annotations: Entries<String>,
}

/// An autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Autoscaling {
    /// Fewest pods.
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// Most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Wanted use of the requested CPU, in percent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu: Option<u32>,
    /// Wanted use of the requested memory, in percent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub memory: Option<u32>,
    /// `behavior` as Kubernetes writes it.
    #[serde(default)]
    pub behavior: Option<Value>,
}

/// A disruption budget; one of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Pods that must stay: number or percentage.
    pub min_available: Option<IntOrText>,
    /// Pods that may be missing: number or percentage.
    pub max_unavailable: Option<IntOrText>,
}

/// How pods are exchanged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// Pods above the wanted number: number or percentage.
    pub max_surge: Option<IntOrText>,
    /// Pods that may be missing: number or percentage.
    pub max_unavailable: Option<IntOrText>,
    /// `RollingUpdate`, `Recreate`, `OnDelete`.
    pub strategy: Option<String>,
    /// Old ReplicaSets or revisions that are kept.
    pub history: Option<u32>,
}

/// How the pods of a StatefulSet start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodManagement {
    /// Together.
    Parallel,
    /// One after another.
    OrderedReady,
}

/// Whether pods avoid nodes that have one already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AntiAffinity {
    /// If it can be done.
    #[default]
    Preferred,
    /// In any case.
    Required,
    /// No.
    None,
}
