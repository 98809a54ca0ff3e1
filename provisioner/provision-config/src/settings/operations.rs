use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entries, Period, Quantity, Resources};

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
    /// Objects that must be ready first, as the annotation `provision.dev/depends-on` names them.
    pub depends_on: Vec<String>,
    /// Requests and limits.
    pub resources: Option<Resources>,
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
            depends_on: Vec::new(),
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
    pub resources: Option<Resources>,
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
}
