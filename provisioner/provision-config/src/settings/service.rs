use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::platform::on;
use super::{Entries, IntOrText, Quantity};

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

/// Requests and limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// What is set aside: `cpu`, `memory`, `ephemeral-storage`.
    pub requests: Entries<Quantity>,
    /// What it may use at most.
    pub limits: Entries<Quantity>,
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

/// One port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Port of the container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Port of the Service; the container's when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub service_port: Option<u16>,
    /// Protocol of the application: `http`, `kubernetes.io/h2c`.
    #[serde(default)]
    pub app_protocol: Option<String>,
    /// Whether the Service offers it.
    #[serde(default = "on")]
    pub exposed: bool,
}

/// Probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Restarts the container when it fails.
    pub liveness: Option<Probe>,
    /// Takes the pod out of the Service when it fails.
    pub readiness: Option<Probe>,
    /// Holds the others back until it succeeds.
    pub startup: Option<Probe>,
}

/// How a probe asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// HTTP GET.
    #[default]
    Http,
    /// TCP connect.
    Tcp,
    /// The gRPC health service.
    Grpc,
    /// A command in the container.
    Exec,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// How it asks.
    #[serde(default)]
    pub kind: ProbeKind,
    /// Path of an HTTP probe.
    #[serde(default)]
    pub path: Option<String>,
    /// Port, by number or name.
    #[serde(default)]
    pub port: Option<IntOrText>,
    /// Command of an exec probe.
    #[serde(default)]
    pub command: Vec<String>,
    /// Seconds before the first time.
    #[serde(default)]
    pub initial_delay_seconds: Option<u32>,
    /// Seconds between two times.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub period_seconds: Option<u32>,
    /// Seconds for an answer.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u32>,
    /// Failures in a row that count.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<u32>,
    /// Successes in a row that count.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub success_threshold: Option<u32>,
}

/// Where metrics are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Name of the port.
    pub port: String,
    /// Path.
    #[serde(default)]
    pub path: Option<String>,
}

/// Keys of `config` that a service reads: a list, or `all`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ConfigKeys {
    /// `all` or `none`.
    Word(ConfigWord),
    /// These.
    Keys(Vec<String>),
}

impl Default for ConfigKeys {
    fn default() -> Self {
        Self::Word(ConfigWord::None)
    }
}

/// All keys or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigWord {
    /// Every key.
    All,
    /// No key.
    None,
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

/// What is behind a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// Space of the node that ends with the pod.
    EmptyDir,
    /// A claim of each pod (StatefulSet).
    ClaimTemplate,
    /// One claim, made with the service.
    Claim,
    /// A path of the node.
    HostPath,
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// A claim that lives as long as the pod.
    Ephemeral,
}

/// One volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// What is behind it.
    pub kind: VolumeKind,
    /// Path in the container.
    pub mount_path: String,
    /// Whether the container can't write to it.
    #[serde(default)]
    pub read_only: bool,
    /// `Memory`, or the node's disk when left out.
    #[serde(default)]
    pub medium: Option<String>,
    /// Size of the claim, or limit of the empty directory.
    #[serde(default)]
    pub size: Option<Quantity>,
    /// Storage class of the claim.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Access modes of the claim.
    #[serde(default)]
    pub access_modes: Vec<String>,
    /// Path on the node.
    #[serde(default)]
    pub host_path: Option<String>,
    /// `Socket`, `DirectoryOrCreate`, ...
    #[serde(default)]
    pub host_path_type: Option<String>,
    /// Name of the ConfigMap, Secret or claim.
    #[serde(default)]
    pub source: Option<String>,
}

/// What a container may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Whether it must not be root.
    pub run_as_non_root: bool,
    /// User id.
    pub run_as_user: Option<i64>,
    /// Group id of volumes.
    pub fs_group: Option<i64>,
    /// Whether its file system can't be written.
    pub read_only_root: bool,
    /// Whether it may gain rights.
    pub allow_privilege_escalation: bool,
    /// Whether it has all rights of the node.
    pub privileged: bool,
    /// Capabilities that it gets.
    pub add: Vec<String>,
    /// Capabilities that it loses.
    pub drop: Vec<String>,
    /// Seccomp profile: `RuntimeDefault`, `Unconfined`.
    pub seccomp: Option<String>,
    /// Whether it sees the node's processes.
    pub host_pid: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            run_as_non_root: true,
            run_as_user: Some(65532),
            fs_group: None,
            read_only_root: true,
            allow_privilege_escalation: false,
            privileged: false,
            add: Vec::new(),
            drop: vec!["ALL".to_owned()],
            seccomp: Some("RuntimeDefault".to_owned()),
            host_pid: false,
        }
    }
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
