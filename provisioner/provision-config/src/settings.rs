//! What an environment may say: one type for every key, from which the JSON Schema is made.
//!
//! Optional keys that are not set stand as null in templates, so `{% if values.x.y %}` works and `values.x.yy` is still an error.

mod container;
mod dependencies;
mod entries;
mod network;
mod operations;
mod platform;
mod scalars;
mod secrets;
mod service;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::*;
pub use dependencies::*;
pub use entries::Entries;
pub use network::*;
pub use operations::*;
pub use platform::*;
pub(crate) use scalars::is_quantity;
pub use scalars::{IntOrText, Period, Quantity};
pub use secrets::*;
pub use service::*;

/// The merged, typed settings of one environment and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the environment is for.
    #[schemars(extend("x-read-by-program" = true))]
    pub purpose: String,
    /// How it is kept apart from the others.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub isolation: Option<String>,
    /// What data it holds: `synthetic`, `sanitized`, `production`.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub data: Option<DataClass>,
    /// Name and namespaces of the platform.
    pub platform: Platform,
    /// What runs the objects, and what they are checked against.
    #[schemars(extend("x-read-by-program" = true))]
    pub target: Target,
    /// Metrics and alerts.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Logs of the services.
    #[serde(default)]
    pub logging: Logging,
    /// What scales and how it is spread.
    #[serde(default)]
    pub scaling: Scaling,
    /// Policies and the way in.
    #[serde(default)]
    pub network: Network,
    /// Images by name.
    #[serde(default)]
    pub images: Entries<Image>,
    /// Where images are pulled from.
    #[serde(default)]
    pub registry: Registry,
    /// Secret values by name, as references.
    #[serde(default)]
    pub secrets: Secrets,
    /// What the platform needs and does not bring.
    #[serde(default)]
    pub dependencies: Dependencies,
    /// Entries of the configuration map that every service reads.
    #[serde(default)]
    pub config: Entries<String>,
    /// Topics of the event bus.
    #[serde(default)]
    pub event_bus: Option<EventBus>,
    /// What sandboxes may use.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// Most that all pods of the platform's namespace may use together, as a ResourceQuota writes it; no quota when empty.
    #[serde(default)]
    pub quota: Entries<Quantity>,
    /// Service accounts and what they may do.
    #[serde(default)]
    pub service_accounts: Entries<ServiceAccount>,
    /// The services by name.
    #[serde(default)]
    pub services: Entries<Service>,
    /// The migration Job.
    #[serde(default)]
    pub migrations: Migrations,
    /// The backup CronJob.
    #[serde(default)]
    pub backup: Backup,
    /// Dashboards.
    #[serde(default)]
    pub dashboards: Dashboards,
    /// What applying may do.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub policy: PolicySettings,
    /// Objects that the cluster provides and that rendered objects may refer to.
    #[serde(default)]
    #[schemars(extend("x-read-by-program" = true))]
    pub provided: Provided,
}
