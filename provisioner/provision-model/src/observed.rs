use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, GroupKind, Manifest, Origin, ResourceId};

/// Which cluster this is and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// UID of the namespace `kube-system`, which no two clusters share.
    pub uid: String,
    /// Version of the API server: `v1.36.3`.
    pub version: String,
}

/// One kind that the API server serves under one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    /// Group and kind.
    pub kind: GroupKind,
    /// Version: `v1`.
    pub version: String,
    /// Name in URLs: `deployments`.
    pub plural: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether this version is the group's preferred one.
    pub preferred: bool,
    /// Whether the kind can be listed and watched.
    pub listable: bool,
}

impl ApiResource {
    /// Returns `apiVersion` as manifests write it.
    pub fn api_version(&self) -> String {
        if self.kind.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.kind.group, self.version) }
    }
}

/// Everything that the API server serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiSurface {
    /// Each kind under each served version.
    pub resources: Vec<ApiResource>,
}

impl ApiSurface {
    /// Finds a kind: under `version` if given, else under the preferred version.
    pub fn find(&self, kind: &GroupKind, version: Option<&str>) -> Option<&ApiResource> {
        let mut served = self.resources.iter().filter(|resource| resource.kind == *kind);
        match version {
            Some(version) => served.find(|resource| resource.version == version),
            None => served.clone().find(|resource| resource.preferred).or_else(|| served.next()),
        }
    }

    /// Lists the versions under which a kind is served.
    pub fn versions(&self, kind: &GroupKind) -> Vec<&str> {
        self.resources.iter().filter(|resource| resource.kind == *kind).map(|resource| resource.version.as_str()).collect()
    }
}

/// Everything that planning knows about one cluster, read without a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Which cluster.
    pub cluster: ClusterIdentity,
    /// What it serves.
    pub api: ApiSurface,
    /// Live objects among those that are wanted, recorded or depended on, plus the namespaces of the first two.
    pub live: BTreeMap<ResourceId, Manifest>,
    /// What the last release left, by object; what it registered but did not finish is in here too.
    pub recorded: BTreeMap<ResourceId, RecordedObject>,
    /// Number of the newest recorded generation, if one.
    pub generation: Option<u64>,
    /// Answers of dry-runs for the objects whose rendering changed.
    pub predicted: BTreeMap<ResourceId, Prediction>,
    /// Salt of the fingerprints that stand for secret values.
    pub fingerprint_salt: String,
    /// Fingerprints of the secret values that references stand for, by `path#property`; only those that could be looked up.
    pub secrets: BTreeMap<String, String>,
}

/// What the API server says it would do with an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// It would accept it, and this is the result. Secret values are fingerprints.
    Accepted(Manifest),
    /// It would refuse because a field can't be changed in place.
    Immutable(String),
    /// It would refuse for another reason, with its message.
    Refused(String),
}

/// What a release left of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedObject {
    /// What was rendered; secret values stand as references.
    pub rendered: Manifest,
    /// Digest of `rendered`.
    pub digest: Digest,
    /// Template line that made it.
    pub origin: Origin,
    /// UID after our write; `None` while the write is only registered.
    pub uid: Option<String>,
    /// The fields that our write owned, in the form of `fieldsV1`.
    pub fields: Value,
    /// The values of those fields right after our write; secret values are fingerprints.
    pub applied: Value,
    /// Whether a Job that runs once has completed; it is then not made again when its TTL removed it.
    pub completed: bool,
    /// Whether the object stays when it leaves the rendered set.
    pub keep: bool,
}
