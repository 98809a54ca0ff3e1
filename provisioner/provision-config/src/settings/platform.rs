use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entries, Period, Quantity};

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
    /// Minor version of Kubernetes: `1.36`.
    #[schemars(regex(pattern = "^1\\.[0-9]{1,3}$"), extend("format" = "kubernetes-minor"))]
    pub kubernetes: String,
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

/// Policies and the way in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Whether network policies are made.
    pub policies: bool,
    /// Whether namespaces ask for the mesh's sidecar.
    pub mesh_injection: bool,
    /// The way in.
    pub gateway: Gateway,
    /// The cluster's name server.
    pub dns: Option<NameServer>,
    /// Address blocks that egress to the outside may not reach.
    pub blocked_cidrs: Vec<String>,
}

/// The pods that answer the cluster's name queries; every policy lets its pods ask them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub pod_labels: Entries<String>,
}

/// How requests come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayKind {
    /// Gateway and HTTPRoute.
    GatewayApi,
    /// Ingress.
    Ingress,
    /// Not at all.
    #[default]
    None,
}

/// The way in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// How requests come in.
    pub kind: GatewayKind,
    /// Gateway class or ingress class.
    pub class: Option<String>,
    /// Name of the Gateway, if it is one that the cluster provides.
    pub name: Option<String>,
    /// Namespace of the gateway or of the ingress controller.
    pub namespace: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// Service that answers.
    pub backend: Option<String>,
    /// Port of that service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Secret with certificate and key.
    pub tls_secret: Option<String>,
    /// Issuer of the certificate.
    pub cluster_issuer: Option<String>,
    /// Largest request body.
    pub body_limit: Option<Quantity>,
    /// Longest time for one request.
    pub timeout: Option<Period>,
    /// Requests that one proxy lets through in a second.
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u32>,
    /// Annotations of the route or ingress.
    pub annotations: Entries<String>,
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

/// Where secret values come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretMode {
    /// From the owner-only local file, written as Secrets.
    #[default]
    Local,
    /// From the store, by ExternalSecrets.
    External,
}

/// Secret values by name, as references.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// Where the values come from.
    pub mode: SecretMode,
    /// The store of mode `external`.
    pub store: Option<SecretStore>,
    /// Name of the Secret that the services read.
    pub name: Option<String>,
    /// How often the store is read.
    pub refresh_interval: Option<Period>,
    /// The values by the name under which services read them.
    pub items: Entries<SecretItem>,
}

/// A store that the External Secrets operator reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretStore {
    /// `ClusterSecretStore` or `SecretStore`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// One secret value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretItem {
    /// Path in the store.
    pub path: String,
    /// Property under the path.
    pub property: String,
    /// Where the value comes from in mode `local`.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub local: Option<LocalSecret>,
}

/// Where a local secret value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LocalSecret {
    /// An environment variable of the operator.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Random bytes, made once.
    Generated {
        /// How many.
        #[schemars(range(min = 8, max = 4096))]
        bytes: u32,
        /// How they are written.
        #[serde(default)]
        encoding: SecretEncoding,
    },
}

/// How generated bytes are written as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    /// Base 64 with padding.
    #[default]
    Base64,
    /// Lower-case hex.
    Hex,
}

/// What the platform needs and does not bring.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dependencies {
    /// The database.
    pub postgresql: Option<Endpoint>,
    /// The event bus.
    pub event_bus: Option<EventBusEndpoint>,
    /// The object store.
    pub object_store: Option<ObjectStore>,
    /// The identity provider.
    pub oidc: Option<Oidc>,
    /// The collector of traces.
    pub otlp: Option<Endpoint>,
    /// Others by name.
    pub others: Entries<Endpoint>,
}

/// Whether a dependency runs in the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// It runs in the cluster; policies name its pods.
    #[default]
    InCluster,
    /// It runs elsewhere; policies name its address block.
    External,
}

/// A host and a port that services call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where it runs.
    #[serde(default)]
    pub mode: EndpointMode,
    /// Labels of its pods.
    #[serde(default)]
    pub pod_labels: Entries<String>,
    /// Labels of its namespace.
    #[serde(default)]
    pub namespace_labels: Entries<String>,
    /// Its address block.
    #[serde(default)]
    pub cidr: Option<String>,
}

/// The event bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventBusEndpoint {
    /// `host:port` of each broker.
    pub brokers: Vec<String>,
    /// Port of the brokers.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where it runs.
    #[serde(default)]
    pub mode: EndpointMode,
    /// Labels of its pods.
    #[serde(default)]
    pub pod_labels: Entries<String>,
    /// Labels of its namespace.
    #[serde(default)]
    pub namespace_labels: Entries<String>,
    /// Its address block.
    #[serde(default)]
    pub cidr: Option<String>,
}

/// The object store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectStore {
    /// URL.
    pub endpoint: String,
    /// Bucket.
    pub bucket: String,
    /// Region of the bucket.
    #[serde(default)]
    pub region: Option<String>,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where it runs.
    #[serde(default)]
    pub mode: EndpointMode,
    /// Labels of its pods.
    #[serde(default)]
    pub pod_labels: Entries<String>,
    /// Labels of its namespace.
    #[serde(default)]
    pub namespace_labels: Entries<String>,
    /// Its address block.
    #[serde(default)]
    pub cidr: Option<String>,
}

/// The identity provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// URL of the issuer.
    pub issuer: String,
    /// Client.
    pub client_id: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where it runs.
    #[serde(default)]
    pub mode: EndpointMode,
    /// Labels of its pods.
    #[serde(default)]
    pub pod_labels: Entries<String>,
    /// Labels of its namespace.
    #[serde(default)]
    pub namespace_labels: Entries<String>,
    /// Its address block.
    #[serde(default)]
    pub cidr: Option<String>,
}

/// Topics of the event bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventBus {
    /// Topic.
    pub topic: String,
    /// Service whose pods share the partitions; it can't use more pods than partitions.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Partitions.
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: u32,
    /// Copies of each partition.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub replication: Option<u32>,
    /// How long messages stay, in milliseconds.
    #[serde(default)]
    pub retention_ms: Option<i64>,
    /// How many bytes a partition keeps.
    #[serde(default)]
    pub retention_bytes: Option<i64>,
    /// Disk of one broker.
    #[serde(default)]
    pub broker_disk: Option<Quantity>,
    /// Further topic settings.
    #[serde(default)]
    pub settings: Entries<String>,
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

/// The migration Job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Migrations {
    /// Whether it runs.
    pub enabled: bool,
    /// Service whose image and settings it uses.
    pub service: Option<String>,
    /// Longest time for it.
    pub timeout: Option<Period>,
    /// How often a failed pod is tried again.
    pub backoff_limit: u32,
    /// How long the finished Job stays.
    pub ttl_seconds: u32,
    /// Command.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Variables.
    pub env: Entries<String>,
    /// Names of the secret values that it reads.
    pub secrets: Vec<String>,
    /// Dependencies that it calls.
    pub egress: Vec<String>,
    /// Requests and limits.
    pub resources: Option<super::Resources>,
}

impl Default for Migrations {
    fn default() -> Self {
        Self {
            enabled: true,
            service: None,
            timeout: None,
            backoff_limit: 3,
            ttl_seconds: 300,
            command: Vec::new(),
            args: Vec::new(),
            env: Entries::default(),
            secrets: Vec::new(),
            egress: Vec::new(),
            resources: None,
        }
    }
}

/// The backup CronJob: a dump, a check that it can be read, an upload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Whether it runs.
    pub enabled: bool,
    /// When, as cron writes it.
    pub schedule: Option<String>,
    /// Time zone of the schedule.
    pub time_zone: Option<String>,
    /// Image with `pg_dump`, by its name in `images`.
    pub dump_image: Option<String>,
    /// Image with an S3 client, by its name in `images`.
    pub upload_image: Option<String>,
    /// Database that is dumped.
    pub database: Option<String>,
    /// User that reads it.
    pub user: Option<String>,
    /// Name of the secret value with that user's password.
    pub password: Option<String>,
    /// Names of the secret values with the object store's access key and secret key.
    pub access_key: Option<String>,
    /// See `access_key`.
    pub secret_key: Option<String>,
    /// Bucket.
    pub bucket: Option<String>,
    /// Start of the object's key.
    pub prefix: Option<String>,
    /// Longest time for one run.
    pub timeout: Option<Period>,
    /// How often a failed run is tried again.
    pub backoff_limit: u32,
    /// Finished runs that are kept.
    pub keep_jobs: u32,
    /// Space for the dump.
    pub size: Option<Quantity>,
    /// Requests and limits of each container.
    pub resources: Option<super::Resources>,
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

/// Dashboards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboards {
    /// Whether they are made.
    pub enabled: bool,
    /// Namespace.
    pub namespace: Option<String>,
    /// Dashboards by file name; each is JSON that Grafana reads.
    pub items: Entries<Value>,
}

/// What applying may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Longest time for one object to become ready.
    pub object_timeout: Option<Period>,
    /// How long an object must stay ready before it counts.
    pub settle: Option<Period>,
    /// Most objects that one run may delete.
    pub max_deletes: Option<u32>,
    /// Recorded releases that are kept.
    #[schemars(range(min = 1, max = 1000))]
    pub history: Option<u32>,
    /// Namespace for lease, inventory and history.
    pub state_namespace: Option<String>,
}

/// Objects that the cluster provides, by kind: `Kind/name` or `Kind/namespace/name`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provided {
    /// `Kind/name` in the platform's namespace or for the whole cluster, or `Kind/namespace/name`.
    pub objects: Vec<String>,
    /// Whether the cluster checks what it does not know: kinds without schema are only warned about.
    #[serde(default)]
    pub unknown_kinds: bool,
}
