use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, Period};

/// The default of switches that are on unless switched off.
pub(super) fn on() -> bool {
    true
}

/// Which data an environment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataClass {
    /// Made up.
    Synthetic,
    /// Production data without what identifies people.
    Sanitized,
    /// The real thing.
    Production,
}

/// Name and namespaces of the platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Name.
    pub name: String,
    /// Namespace of the services.
    pub namespace: String,
    /// Namespace in which sandboxes run.
    #[serde(default)]
    pub sandbox_namespace: Option<String>,
    /// Value of the label `app.kubernetes.io/part-of`.
    #[serde(default)]
    pub part_of: Option<String>,
    /// Version of the platform.
    #[serde(default)]
    pub version: Option<String>,
    /// Labels that every namespace of the platform gets.
    #[serde(default)]
    pub namespace_labels: Entries<String>,
    /// Labels that every object gets.
    #[serde(default)]
    pub labels: Entries<String>,
}

/// The cluster that objects are checked against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What runs the objects.
    #[serde(default)]
    pub engine: Engine,
    /// Minor version of Kubernetes: `1.36`.
    #[schemars(regex(pattern = "^1\\.[0-9]{1,3}$"), extend("format" = "kubernetes-minor"))]
    pub kubernetes: String,
}

/// What runs the objects of an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A Kubernetes cluster.
    #[default]
    Kubernetes,
    /// This machine, as supervised processes.
    Local,
}

/// Metrics and alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Monitoring {
    /// Whether metrics are collected at all.
    pub enabled: bool,
    /// Namespace of the monitoring stack.
    pub namespace: Option<String>,
    /// Whether that namespace is made here, because the cluster has no monitoring stack of its own.
    pub create_namespace: bool,
    /// Whether a ServiceMonitor is made.
    pub service_monitor: bool,
    /// Whether alert rules are made.
    pub alerts: bool,
    /// Time between two scrapes.
    pub scrape_interval: Option<Period>,
    /// Value of the label `release` by which the operator finds monitors.
    pub release_label: Option<String>,
    /// Endpoint for traces.
    pub otlp_endpoint: Option<String>,
    /// First part of the addresses of runbooks, which alerts name.
    pub runbooks: Option<String>,
    /// Who is told: `page`, `ticket`, `none`.
    pub alert_severity: Option<String>,
}

/// How much a service logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What is odd.
    Warn,
    /// What fails.
    Error,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Logs of the services.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// How much.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// What scales and how it is spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scaling {
    /// Whether autoscalers are made.
    pub autoscaling: bool,
    /// Whether disruption budgets are made.
    pub disruption_budgets: bool,
    /// Whether pods are spread over zones.
    pub spread_zones: bool,
}

/// One image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Registry and repository, without tag and digest.
    pub image: String,
    /// Tag; the digest wins.
    #[serde(default)]
    pub tag: Option<String>,
    /// Digest of the manifest.
    #[serde(default)]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"), extend("format" = "image-digest"))]
    pub digest: Option<String>,
    /// What lies in the image beside its program when it is built here: programs by name, files and folders by absolute path, all of the
    /// machine that builds it.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub contents: Vec<String>,
}

/// Where images are pulled from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Secret with the credentials.
    pub pull_secret: Option<String>,
    /// Whether an image without digest is refused.
    #[schemars(extend("x-read-by-program" = true))]
    pub require_digest: bool,
}

/// A service account and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceAccount {
    /// Annotations.
    pub annotations: Entries<String>,
    /// Whether pods get a token.
    pub mount_token: bool,
    /// Rules of its role; no role when empty.
    pub rules: Vec<RoleRule>,
    /// Namespace in which the rules hold; the platform's when left out.
    pub rules_namespace: Option<String>,
}

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// API groups; the empty text is the core group.
    pub api_groups: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Names; all when empty.
    #[serde(default)]
    pub resource_names: Vec<String>,
}

/// What one sandbox may use, and how many run on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Processors.
    #[schemars(range(min = 1, max = 256))]
    pub cpu_limit: u32,
    /// Memory, in MiB.
    #[schemars(range(min = 16))]
    pub memory_limit_mb: u32,
    /// Longest run, in seconds; workers and sandbox managers have that long to end.
    #[schemars(range(min = 1))]
    pub timeout_seconds: u32,
    /// Most sandboxes on one node at a time.
    #[schemars(range(min = 1))]
    pub per_node: u32,
    /// Whether the sandbox manager must request what its sandboxes may use, as they run beside its pod.
    pub reserve: bool,
}
