use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Finding, Manifest, Origin, RegionName, ReleaseName, ResourceId};

/// Everything that is wanted in one cluster: the result of rendering, the input of planning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Environment it was rendered for.
    pub environment: EnvironmentName,
    /// Region overlay, if one.
    pub region: Option<RegionName>,
    /// Name under which the cluster remembers it.
    pub release: ReleaseName,
    /// The objects, in rendering order.
    pub objects: Vec<DesiredObject>,
    /// What planning and applying may do.
    pub policy: Policy,
    /// What rendering and checking found; a fatal one blocks planning.
    pub findings: Vec<Finding>,
}

impl Desired {
    /// Returns what it belongs to.
    pub fn scope(&self) -> Scope {
        Scope {
            environment: self.environment.clone(),
            region: self.region.clone(),
            release: self.release.clone(),
            policy: self.policy.clone(),
        }
    }
}

/// What a release belongs to and what may be done to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Environment.
    pub environment: EnvironmentName,
    /// Region, if one.
    pub region: Option<RegionName>,
    /// Release.
    pub release: ReleaseName,
    /// What planning and applying may do.
    pub policy: Policy,
}

/// One wanted object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredObject {
    /// The object; secret values stand as references.
    pub manifest: Manifest,
    /// Template line that makes it.
    pub origin: Origin,
    /// Objects that must be ready before this one is written, as the template names them.
    pub depends_on: Vec<Dependency>,
    /// How to treat it.
    pub options: ObjectOptions,
}

impl DesiredObject {
    /// Returns the identity of the object.
    pub fn id(&self) -> ResourceId {
        self.manifest.id()
    }
}

/// An explicit dependency, with the place that declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be ready first.
    pub target: ResourceId,
    /// Where that is said.
    pub origin: Origin,
}

/// How one object is treated; read from its `provision.dev/*` annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectOptions {
    /// Longest time to become ready; the policy's time when `None`.
    pub timeout: Option<Duration>,
    /// What happens when the object leaves the rendered set.
    pub on_remove: OnRemove,
    /// Whether an immutable field may be changed by deleting and creating.
    pub replace: ReplacePolicy,
}

/// What happens to an object that is no longer rendered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRemove {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays and is no longer ours.
    Keep,
}

/// Whether a change of an immutable field may delete and create the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacePolicy {
    /// Only for kinds that hold no data and are made to be replaced (Job).
    #[default]
    KindDefault,
    /// Yes.
    Allowed,
}

/// What planning and applying may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Longest time for one object to become ready.
    pub object_timeout: Duration,
    /// How long an object must stay ready before it counts, for kinds without `minReadySeconds`.
    pub settle: Duration,
    /// Most objects that one run may delete without being told to go on.
    pub max_deletes: usize,
    /// Recorded releases that are kept.
    pub history: usize,
    /// Namespace for lease, inventory and history.
    pub state_namespace: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            object_timeout: Duration::from_secs(300),
            settle: Duration::from_secs(3),
            max_deletes: 20,
            history: 10,
            state_namespace: "provision-system".to_owned(),
        }
    }
}
