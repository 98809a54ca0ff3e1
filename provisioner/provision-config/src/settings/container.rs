use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::platform::on;
use super::{Entries, IntOrText, Quantity};

/// Requests and limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// What is set aside: `cpu`, `memory`, `ephemeral-storage`.
    pub requests: Entries<Quantity>,
    /// What it may use at most.
    pub limits: Entries<Quantity>,
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
