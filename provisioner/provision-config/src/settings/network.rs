use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, Period, Quantity};

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

/// The pods that answer the cluster's name queries; every policy lets its pods ask them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub pod_labels: Entries<String>,
}
