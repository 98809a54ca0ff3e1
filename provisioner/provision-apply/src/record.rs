//! What a release left in the cluster: a small head and content-addressed, compressed shards of its inventory.
//!
//! | ConfigMap in the state namespace | holds |
//! |---|---|
//! | `<release>.head` | format, salt, the generations with the digests of their shards, the journal of an unfinished one |
//! | `<release>.blob-<40 hex>` | up to 512 KiB of a compressed shard; immutable, named by its own digest |
//!
//! An unfinished generation is in the head before the first write of an object, with everything old and new in its inventory.

mod journal;
mod known;
mod shard;
mod store;

use std::collections::BTreeMap;

use jiff::Timestamp;
use provision_model::{
    Action, Dependency, Desired, DesiredObject, Digest, EnvironmentName, Manifest, ObjectOptions, Origin, Policy, RecordedObject,
    RegionName, ReleaseName, ResourceId,
};
use provision_saga::Record;
use serde::{Deserialize, Serialize};

pub(crate) use journal::HeadJournal;
pub(crate) use known::{known, registered, written};
pub(crate) use shard::{Blob, encode};
pub use store::RecordError;
pub(crate) use store::{HeadState, RecordStore};

/// As what a generation was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationKind {
    /// From rendered templates.
    Up,
    /// From an earlier generation.
    Rollback {
        /// That one's number.
        to: u64,
    },
    /// To delete everything.
    Down,
}

/// Where a generation stands. It is never a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Begun and not finished: a run is at it, or a resume goes on.
    Pending,
    /// All of it is there.
    Done,
    /// Some objects failed.
    Failed,
    /// It was not finished; a later generation took over what it had registered.
    Superseded,
}

/// One line of a release's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Number, from 1, without gaps.
    pub number: u64,
    /// As what it was made.
    pub kind: GenerationKind,
    /// Where it stands.
    pub state: GenerationState,
    /// When its first run began.
    pub started: Timestamp,
    /// When it was finished.
    pub finished: Option<Timestamp>,
    /// Who ran it.
    pub by: String,
    /// Id of its first run.
    pub run: String,
    /// Environment.
    pub environment: EnvironmentName,
    /// Region, if one.
    pub region: Option<RegionName>,
    /// Policy that it was applied with.
    pub policy: Policy,
    /// Planned changes by action.
    pub changes: BTreeMap<Action, usize>,
    /// Objects that were wanted.
    pub objects: usize,
    /// Digest of what was wanted.
    pub wanted: Digest,
    /// Where its inventory is.
    pub(crate) shards: Vec<Shard>,
    /// What happened to the steps that the world does not show; empty once finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) journal: Vec<Record>,
}

/// A generation with what it wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The generation.
    pub generation: Generation,
    /// What it wanted; without objects for a [`GenerationKind::Down`].
    pub desired: Desired,
}

/// A part of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Digest of its JSON text.
    pub(crate) digest: Digest,
    /// The pieces of its compressed form, in order.
    pub(crate) blobs: Vec<Digest>,
}

/// The head of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Version of this format.
    pub(crate) format: u32,
    /// Release.
    pub(crate) release: ReleaseName,
    /// Salt of the fingerprints.
    pub(crate) salt: String,
    /// Generations, oldest first; the newest says what is there.
    pub(crate) generations: Vec<Generation>,
}

/// The format that this program writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

impl Head {
    pub(crate) fn newest(&self) -> Option<&Generation> {
        self.generations.last()
    }

    /// Drops what the policy does not keep: of the finished generations the newest `history`, and all before the oldest of them.
    pub(crate) fn trim(&mut self, history: usize) {
        let done = |generation: &Generation| generation.state == GenerationState::Done;
        let surplus = self.generations.iter().filter(|generation| done(generation)).count().saturating_sub(history.max(1));
        if surplus == 0 {
            return;
        }
        let oldest = self.generations.iter().enumerate().filter(|(_, generation)| done(generation)).nth(surplus).map(|(place, _)| place);
        if let Some(place) = oldest {
            self.generations.drain(..place);
        }
    }
}

/// One object of an inventory: what was wanted of it and what is known to have been written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredObject {
    /// As it was wanted; `None` for one that leaves.
    pub(crate) wanted: Option<Wanted>,
    /// As it was last written; `None` while the write is only registered.
    pub(crate) recorded: Option<RecordedObject>,
}

/// A wanted object as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// As rendered; secret values stand as references.
    pub(crate) manifest: Manifest,
    /// Template line.
    pub(crate) origin: Origin,
    /// Declared dependencies.
    pub(crate) depends_on: Vec<Dependency>,
    /// How it is treated.
    pub(crate) options: ObjectOptions,
}

impl Wanted {
    pub(crate) fn of(object: &DesiredObject) -> Self {
        Self {
            manifest: object.manifest.clone(),
            origin: object.origin.clone(),
            depends_on: object.depends_on.clone(),
            options: object.options.clone(),
        }
    }

    fn into_object(self) -> DesiredObject {
        DesiredObject { manifest: self.manifest, origin: self.origin, depends_on: self.depends_on, options: self.options }
    }
}

/// Every object that a release has or may have in the cluster.
pub(crate) type Inventory = BTreeMap<ResourceId, StoredObject>;

/// Builds back what a generation wanted; the objects in the order of their ids.
pub(crate) fn desired_of(generation: &Generation, release: &ReleaseName, inventory: Inventory) -> Desired {
    Desired {
        environment: generation.environment.clone(),
        region: generation.region.clone(),
        release: release.clone(),
        objects: inventory.into_values().filter_map(|stored| stored.wanted).map(Wanted::into_object).collect(),
        policy: generation.policy.clone(),
        findings: Vec::new(),
    }
}

/// Computes the digest of what is wanted; the order of the objects and the places in the templates make no difference.
pub(crate) fn wanted_digest(desired: &Desired) -> Digest {
    let objects: BTreeMap<String, serde_json::Value> = desired
        .objects
        .iter()
        .map(|object| {
            let after: Vec<String> = object.depends_on.iter().map(|dependency| dependency.target.key()).collect();
            let value = serde_json::json!({"digest": object.manifest.digest(), "options": object.options, "after": after});
            (object.id().key(), value)
        })
        .collect();
    Digest::of_json(&serde_json::json!({"objects": objects, "policy": desired.policy}))
}

#[cfg(test)]
impl Generation {
    /// A generation of which only number, kind and state matter.
    pub(crate) fn for_test(number: u64, kind: GenerationKind, state: GenerationState) -> Self {
        Self {
            number,
            kind,
            state,
            started: Timestamp::UNIX_EPOCH,
            finished: None,
            by: String::new(),
            run: String::new(),
            environment: "dev".parse().unwrap(),
            region: None,
            policy: Policy::default(),
            changes: BTreeMap::new(),
            objects: 0,
            wanted: Digest::of_bytes(b""),
            shards: Vec::new(),
            journal: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_keeps_the_newest_finished_generations_and_what_came_after_them() {
        use GenerationState::{Done, Failed, Pending};
        for (states, history, kept) in [
            (vec![Done, Done, Failed, Done, Pending], 2, vec![2, 3, 4, 5]),
            (vec![Done, Done, Failed, Done, Pending], 1, vec![4, 5]),
            (vec![Failed, Failed], 1, vec![1, 2]),
            (vec![Done, Failed], 0, vec![1, 2]),
        ] {
            let generations = (1..).zip(states).map(|(number, state)| Generation::for_test(number, GenerationKind::Up, state)).collect();
            let mut head = Head { format: FORMAT, release: "dev".parse().unwrap(), salt: String::new(), generations };
            head.trim(history);
            assert_eq!(head.generations.iter().map(|generation| generation.number).collect::<Vec<_>>(), kept);
        }
    }
}
