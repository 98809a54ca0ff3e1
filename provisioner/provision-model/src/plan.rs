use serde::{Deserialize, Serialize};

use crate::{
    ClusterIdentity, Desired, Digest, EnvironmentName, FieldChange, FieldOwner, Finding, Manifest, Origin, RegionName, ReleaseName,
    ResourceId,
};

/// What will be done to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there and will be made.
    Create,
    /// It is there and fields of it will change.
    Update,
    /// A field that can't change in place changes: deleted, gone, made again.
    Replace,
    /// It is no longer wanted: deleted.
    Delete,
    /// It is no longer wanted but stays: our ownership ends.
    Release,
    /// Nothing to do; of an object that leaves only the record is dropped: it is gone already or belongs to another release.
    Unchanged,
}

impl Action {
    /// Tells whether the action writes to the object.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Unchanged)
    }
}

/// One object's part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which object.
    pub id: ResourceId,
    /// What will be done.
    pub action: Action,
    /// Exactly what will be sent, or was for `Unchanged`; secret values stand as references. `None` for objects that leave.
    pub manifest: Option<Manifest>,
    /// UID of the live object that the change was computed from, if there was one; see [`Change::precondition`].
    pub live_uid: Option<String>,
    /// The fields that change.
    pub diff: Vec<FieldChange>,
    /// Why, in a few words: `not there`, `drifted`, `rendered differently`.
    pub reason: String,
    /// Other owners of fields that we write.
    pub others: Vec<FieldOwner>,
    /// Template line, where there is one.
    pub origin: Option<Origin>,
}

/// What must be true of the live object when it is written or deleted.
///
/// The request is refused otherwise: nothing that somebody made, or made anew, since the plan is taken over or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition<'c> {
    /// It is not there.
    Absent,
    /// It is the one with this UID.
    Uid(&'c str),
    /// Nothing: the cluster makes the object by itself, before us or after us.
    None,
}

impl Change {
    /// Returns what must be true when the change begins: of a `Create` that nothing is there, of all others that it is still the one seen.
    pub fn precondition(&self) -> Precondition<'_> {
        self.live_uid.as_deref().map_or_else(|| self.precondition_of_remaking(), Precondition::Uid)
    }

    /// Returns what must be true when a `Replace` makes the object again, once the old one is gone.
    pub fn precondition_of_remaking(&self) -> Precondition<'static> {
        if self.id.is_in_every_namespace() { Precondition::None } else { Precondition::Absent }
    }
}

/// Why one object comes before another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EdgeReason {
    /// An annotation says so.
    Declared,
    /// The object lives in that namespace.
    Namespace,
    /// The object's kind is defined by that CustomResourceDefinition.
    Definition,
    /// A field of the object names the other one.
    Reference {
        /// That field.
        field: String,
    },
    /// A default order of kinds; dropped where it would close a cycle.
    KindOrder,
}

/// One object of a plan is finished before another is begun.
///
/// The direction is that of the execution: `before` is finished when it is ready, or gone where it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// What comes first.
    pub before: ResourceId,
    /// What comes then.
    pub after: ResourceId,
    /// Why.
    pub reason: EdgeReason,
    /// Where that is said, if in the input.
    pub origin: Option<Origin>,
}

/// What one apply will do, so detailed that the executor decides nothing.
///
/// Invariants: `changes` is in an order that satisfies every edge; edges name only objects of `changes`; the objects that leave come
/// behind all wanted ones, and none of them is begun before every wanted one is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Environment.
    pub environment: EnvironmentName,
    /// Region, if one.
    pub region: Option<RegionName>,
    /// Release.
    pub release: ReleaseName,
    /// Cluster that was observed.
    pub cluster: ClusterIdentity,
    /// Newest recorded generation when it was made.
    pub base_generation: Option<u64>,
    /// One entry for each wanted object and each that leaves, unchanged ones too.
    pub changes: Vec<Change>,
    /// What comes before what.
    pub edges: Vec<Edge>,
    /// Optional edges that were dropped because they would close a cycle.
    pub dropped: Vec<Edge>,
    /// What checks found.
    pub findings: Vec<Finding>,
    /// What was wanted; recorded with the release.
    pub desired: Desired,
}

impl Plan {
    /// Tells whether nothing will be written.
    pub fn is_empty(&self) -> bool {
        !self.changes.iter().any(|change| change.action.writes())
    }

    /// Counts the changes with one action.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// Computes the digest of what the plan decides: cluster, objects, actions, payloads, live identities and differences.
    ///
    /// Two plans with the same digest do the same; a saved plan is refused when a new one over the live state has another.
    pub fn decision_digest(&self) -> Digest {
        let decisions: Vec<serde_json::Value> = self
            .changes
            .iter()
            .filter(|change| change.action.writes())
            .map(|change| {
                serde_json::json!({
                    "id": change.id, "action": change.action, "manifest": change.manifest, "uid": change.live_uid, "diff": change.diff,
                })
            })
            .collect();
        Digest::of_json(&serde_json::json!({"cluster": self.cluster.uid, "release": self.release, "decisions": decisions}))
    }
}
