use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::Value;

use super::stream::{Stream, StreamKey, Trouble, needed};
use super::time::ClusterTime;
use crate::{ClusterError, WatchEvent};

type Uid = String;

/// Everything that the watches told, indexed so that each event costs the same however many objects there are.
///
/// Pure: events and times are inputs.
#[derive(Debug, Default)]
pub(crate) struct TrackerState {
    pub(super) streams: HashMap<StreamKey, Stream>,
    objects: HashMap<Uid, Arc<Manifest>>,
    ids: HashMap<ResourceId, Uid>,
    children: HashMap<Uid, BTreeSet<Uid>>,
    events: HashMap<Uid, BTreeSet<Uid>>,
    /// Pods by the claims that they use.
    users: HashMap<ResourceId, BTreeSet<Uid>>,
    /// Last states of what is gone, but for Events and pods, which are many.
    gone: HashMap<Uid, Arc<Manifest>>,
    definitions: HashMap<GroupKind, Option<Arc<Manifest>>>,
    pub(super) time: ClusterTime,
}

/// Whom an event concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dirty {
    /// These objects: the one that the event is about, and its owners.
    Objects(Vec<ResourceId>),
    /// Everyone: a watch was told in full, or has trouble.
    All,
}

impl TrackerState {
    /// Registers a watch; false when it is there already.
    pub(crate) fn open(&mut self, key: &StreamKey) -> bool {
        if self.streams.contains_key(key) {
            return false;
        }
        self.streams.insert(key.clone(), Stream::opened());
        true
    }

    /// Takes in what a watch tells at `now` and says whom it concerns.
    pub(crate) fn observe(&mut self, key: &StreamKey, event: Result<WatchEvent, ClusterError>, now: Timestamp) -> Dirty {
        match event {
            Ok(WatchEvent::Changed(object)) => self.changed(key, object, now),
            Ok(WatchEvent::Deleted(object)) => Dirty::Objects(self.deleted(key, &uid_of(&object), Some(object))),
            Ok(WatchEvent::Restarted) => {
                let stream = self.streams.entry(key.clone()).or_default();
                stream.told = Some(HashSet::new());
                stream.begun += 1;
                stream.trouble = None;
                Dirty::Objects(Vec::new())
            }
            Ok(WatchEvent::Synced) => {
                let stream = self.streams.entry(key.clone()).or_default();
                stream.trouble = None;
                stream.synced = stream.begun;
                let told = stream.told.take();
                let lost: Vec<_> = told.map_or_else(Vec::new, |told| stream.members.difference(&told).cloned().collect());
                for uid in lost {
                    self.deleted(key, &uid, None);
                }
                Dirty::All
            }
            Err(error) => {
                self.streams.entry(key.clone()).or_default().trouble = Some(Trouble::of(&error));
                Dirty::All
            }
        }
    }

    fn changed(&mut self, key: &StreamKey, object: Manifest, now: Timestamp) -> Dirty {
        self.time.learn(&object, now);
        let (id, uid) = (object.id(), uid_of(&object));
        let stream = self.streams.entry(key.clone()).or_default();
        stream.trouble = None;
        stream.members.insert(uid.clone());
        if let Some(told) = &mut stream.told {
            told.insert(uid.clone());
        }
        // A listing may come from a server that lags behind what the watch has told already.
        let is_old = self.objects.get(&uid).is_some_and(|known| known.resource_version() > object.resource_version());
        if is_old || self.gone.contains_key(&uid) {
            return Dirty::Objects(Vec::new());
        }
        self.unlink(&uid);
        let object = Arc::new(slim(object));
        self.link(&uid, &object);
        self.ids.insert(id, uid.clone());
        self.objects.insert(uid, object.clone());
        Dirty::Objects(self.concerned(&object))
    }

    fn deleted(&mut self, key: &StreamKey, uid: &str, last: Option<Manifest>) -> Vec<ResourceId> {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.members.remove(uid);
        }
        self.unlink(uid);
        let known = self.objects.remove(uid);
        let Some(object) = last.map(|object| Arc::new(slim(object))).or(known) else {
            return Vec::new();
        };
        let id = object.id();
        if self.ids.get(&id).is_some_and(|current| current == uid) {
            self.ids.remove(&id);
        }
        let concerned = self.concerned(&object);
        if !matches!(object.kind(), "Event" | "Pod") {
            self.gone.insert(uid.to_owned(), object);
        }
        concerned
    }

    fn link(&mut self, uid: &str, object: &Manifest) {
        for owner in owners(object) {
            self.children.entry(owner).or_default().insert(uid.to_owned());
        }
        if let Some(about) = about(object) {
            self.events.entry(about).or_default().insert(uid.to_owned());
        }
        for claim in claims(object) {
            self.users.entry(claim).or_default().insert(uid.to_owned());
        }
    }

    fn unlink(&mut self, uid: &str) {
        let Some(object) = self.objects.get(uid).cloned() else { return };
        for owner in owners(&object) {
            remove(&mut self.children, &owner, uid);
        }
        if let Some(about) = about(&object) {
            remove(&mut self.events, &about, uid);
        }
        for claim in claims(&object) {
            remove(&mut self.users, &claim, uid);
        }
    }

    /// Walks up from an object to its owners; an Event starts at what it is about, a claim also at its pods.
    fn concerned(&self, object: &Manifest) -> Vec<ResourceId> {
        let mut found = BTreeSet::from([object.id()]);
        let mut todo: Vec<Uid> = owners(object).chain(about(object)).collect();
        if object.kind() == "PersistentVolumeClaim" {
            todo.extend(self.users.get(&object.id()).into_iter().flatten().cloned());
        }
        let mut seen: HashSet<Uid> = HashSet::new();
        while let Some(uid) = todo.pop() {
            if !seen.insert(uid.clone()) {
                continue;
            }
            let Some(above) = self.objects.get(&uid) else { continue };
            found.insert(above.id());
            todo.extend(owners(above));
            if above.kind() == "PersistentVolumeClaim" {
                todo.extend(self.users.get(&above.id()).into_iter().flatten().cloned());
            }
        }
        found.into_iter().collect()
    }

    /// Returns an object as it was told last.
    pub(crate) fn get(&self, id: &ResourceId) -> Option<&Arc<Manifest>> {
        self.ids.get(id).and_then(|uid| self.objects.get(uid))
    }

    /// Returns the last state of an object that is gone.
    pub(super) fn last_of(&self, uid: &str) -> Option<&Arc<Manifest>> {
        self.gone.get(uid)
    }

    /// Returns what the verdict about an object needs: what it owns, the claims of its pods, the Events about all of them.
    pub(super) fn around(&self, object: &Manifest) -> Vec<Arc<Manifest>> {
        let mut found: Vec<Arc<Manifest>> = self.definitions.get(&object.group_kind()).cloned().flatten().into_iter().collect();
        let mut todo = vec![uid_of(object)];
        let mut seen: HashSet<Uid> = HashSet::new();
        while let Some(uid) = todo.pop() {
            if !seen.insert(uid.clone()) {
                continue;
            }
            let below = self.children.get(&uid).into_iter().flatten();
            todo.extend(below.filter(|uid| self.objects.get(*uid).is_some_and(|object| object.kind() != "Event")).cloned());
            found.extend(self.events.get(&uid).into_iter().flatten().filter_map(|uid| self.objects.get(uid)).cloned());
            if let Some(object) = self.objects.get(&uid) {
                todo.extend(claims(object).filter_map(|claim| self.ids.get(&claim)).cloned());
                found.push(object.clone());
            }
        }
        found
    }

    /// Tells whether every watch that the verdict needs was told in full or is closed to us.
    pub(super) fn is_settled(&self, id: &ResourceId) -> bool {
        needed(id).iter().all(|key| self.streams.get(key).is_some_and(Stream::is_settled))
    }

    /// Returns why a watch tells nothing, if so.
    pub(super) fn trouble(&self, key: &StreamKey) -> Option<Trouble> {
        self.streams.get(key).and_then(|stream| stream.trouble.clone())
    }

    /// Learns about the cluster's clock from what a write returned.
    pub(super) fn learn(&mut self, written: &Manifest, now: Timestamp) {
        self.time.learn(written, now);
    }

    /// Tells whether the definition of a custom kind was looked up.
    pub(super) fn knows_definition(&self, kind: &GroupKind) -> bool {
        self.definitions.contains_key(kind)
    }

    /// Keeps the definition of a custom kind, or that there is none.
    pub(super) fn define(&mut self, kind: GroupKind, definition: Option<Manifest>) {
        self.definitions.insert(kind, definition.map(|definition| Arc::new(slim(definition))));
    }
}

fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<Uid>>, key: &K, uid: &str) {
    if let Some(entries) = index.get_mut(key) {
        entries.remove(uid);
        if entries.is_empty() {
            index.remove(key);
        }
    }
}

pub(super) fn uid_of(object: &Manifest) -> Uid {
    object.uid().map_or_else(|| object.id().key(), str::to_owned)
}

fn owners(object: &Manifest) -> impl Iterator<Item = Uid> + '_ {
    let references = object.value().pointer("/metadata/ownerReferences").and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned))
}

fn about(object: &Manifest) -> Option<Uid> {
    let uid = || object.text("/involvedObject/uid").or_else(|| object.text("/regarding/uid"));
    (object.kind() == "Event").then(uid).flatten().map(str::to_owned)
}

fn claims(object: &Manifest) -> impl Iterator<Item = ResourceId> + '_ {
    let volumes = (object.kind() == "Pod").then(|| object.value().pointer("/spec/volumes").and_then(Value::as_array)).flatten();
    volumes.into_iter().flatten().filter_map(|volume| {
        let name = volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?;
        Some(ResourceId::namespaced("", "PersistentVolumeClaim", object.namespace()?, name))
    })
}

/// Drops what no verdict needs: field owners, values of Secrets, schemas.
fn slim(object: Manifest) -> Manifest {
    let whole = object.clone();
    let kind = object.kind().to_owned();
    let mut value = Value::from(object);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(root) = value.as_object_mut() {
        if kind == "Secret" {
            root.remove("data");
            root.remove("stringData");
        }
        if kind == "ConfigMap" {
            root.remove("data");
            root.remove("binaryData");
        }
    }
    if kind == "CustomResourceDefinition" {
        let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
        for version in versions.into_iter().flatten().filter_map(Value::as_object_mut) {
            version.remove("schema");
        }
    }
    Manifest::try_from(value).unwrap_or(whole)
}
