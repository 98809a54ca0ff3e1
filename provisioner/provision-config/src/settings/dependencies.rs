use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, Quantity};

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
