//! What the cluster holds: objects with their owners, watchers, and what waits for the controllers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use provision_model::{ApiResource, GroupKind, Manifest, ResourceId};
use serde_json::{Map, Value, json};

use super::controllers::Scripts;
use super::fields::FieldSet;
use super::requests::Requests;
use super::surface::{self, Kind};
use crate::{Clock, ClusterError, WatchEvent};

/// How a write came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: Option<String>,
    pub(super) api_version: String,
    pub(super) time: Timestamp,
    pub(super) fields: FieldSet,
}

/// One object; `value` is without `managedFields`.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) owners: Vec<Owner>,
}

impl Stored {
    /// Returns a text of the object.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// Returns a whole number of the object.
    pub(super) fn number(&self, pointer: &str) -> Option<i64> {
        self.value.pointer(pointer).and_then(Value::as_i64)
    }

    /// Returns the UID.
    pub(super) fn uid(&self) -> &str {
        self.text("/metadata/uid").unwrap_or_default()
    }

    /// Tells whether the object is being deleted.
    pub(super) fn is_terminating(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// Tells whether something holds the object back from being deleted.
    pub(super) fn has_finalizers(&self) -> bool {
        self.value.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
    }

    /// Lists kind, name and UID of the objects that own this one.
    pub(super) fn owner_references(&self) -> impl Iterator<Item = &Value> {
        self.value.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
    }
}

/// One open watch.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) resource: ApiResource,
    pub(super) namespace: Option<String>,
    pub(super) sender: UnboundedSender<Result<WatchEvent, ClusterError>>,
    /// Whether the last thing told was an error; it then starts anew as soon as it can.
    pub(super) broken: bool,
}

/// Everything that a cluster in memory knows.
pub(super) struct State {
    pub(super) objects: BTreeMap<ResourceId, Stored>,
    pub(super) kinds: Vec<Kind>,
    pub(super) revision: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) requests: Requests,
    pub(super) scripts: Scripts,
    /// Objects that the controllers have yet to look at.
    pub(super) queue: BTreeSet<ResourceId>,
    children: HashMap<String, BTreeSet<ResourceId>>,
    made: u64,
}

impl State {
    /// Copies everything but the open watches.
    pub(super) fn fork(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            kinds: self.kinds.clone(),
            revision: self.revision,
            clock: self.clock.clone(),
            watchers: Vec::new(),
            requests: self.requests.clone(),
            scripts: self.scripts.clone(),
            queue: self.queue.clone(),
            children: self.children.clone(),
            made: self.made,
        }
    }

    /// Starts with what a new cluster has: system namespaces and one node.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut state = Self {
            objects: BTreeMap::new(),
            kinds: surface::built_in(),
            // As in etcd: no object ever has the version 1.
            revision: 1,
            clock,
            watchers: Vec::new(),
            requests: Requests::default(),
            scripts: Scripts::default(),
            queue: BTreeSet::new(),
            children: HashMap::new(),
            made: 0,
        };
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            state.seed(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        }
        state.seed(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}));
        state.settle();
        state
    }

    fn seed(&mut self, value: Value) {
        if let Ok(manifest) = Manifest::try_from(value)
            && let Ok(id) = self.checked_id(&manifest)
        {
            // The seeds are valid; nothing can refuse them.
            let _ = self.create_as(&id, manifest.value(), "kube-apiserver");
        }
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the time as objects write it: RFC 3339, whole seconds.
    pub(super) fn stamp(&self) -> String {
        stamp(self.now())
    }

    /// Makes a new UID.
    pub(super) fn next_uid(&mut self) -> String {
        self.made += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.made)
    }

    /// Finds a kind: under `version` if given, else the preferred one.
    pub(super) fn kind(&self, kind: &GroupKind, version: Option<&str>) -> Option<&Kind> {
        let mut served = self.kinds.iter().filter(|served| served.resource.kind == *kind);
        match version {
            Some(version) => served.find(|served| served.resource.version == version),
            None => served.clone().find(|served| served.resource.preferred).or_else(|| served.next()),
        }
    }

    /// Lists the ids of one kind, in one namespace or everywhere.
    pub(super) fn ids(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<ResourceId> {
        self.range(kind, namespace).map(|(id, _)| id.clone()).collect()
    }

    /// Goes over the objects of one kind, in one namespace or everywhere.
    pub(super) fn range<'s>(
        &'s self,
        kind: &'s GroupKind,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s ResourceId, &'s Stored)> + 's {
        let first = ResourceId { kind: kind.clone(), namespace: namespace.map(str::to_owned), name: String::new() };
        self.objects
            .range(first..)
            .take_while(move |(id, _)| id.kind == *kind && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace)))
    }

    /// Lists the objects that name `uid` as an owner.
    pub(super) fn owned_by(&self, uid: &str) -> Vec<ResourceId> {
        self.children.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Keeps an object under a new resource version and tells everyone.
    pub(super) fn put(&mut self, id: &ResourceId, mut stored: Stored) {
        self.revision += 1;
        stored.value["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        self.unlink(id);
        let owners: Vec<String> = stored.owner_references().filter_map(|owner| Some(owner["uid"].as_str()?.to_owned())).collect();
        for owner in owners {
            self.children.entry(owner).or_default().insert(id.clone());
        }
        self.objects.insert(id.clone(), stored);
        self.tell(id, WatchEvent::Changed);
        self.touch(id);
    }

    /// Forgets an object and tells everyone.
    pub(super) fn remove(&mut self, id: &ResourceId) {
        if let Some(stored) = self.objects.get_mut(id) {
            self.revision += 1;
            stored.value["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
            self.tell(id, WatchEvent::Deleted);
            self.touch(id);
            self.unlink(id);
            self.objects.remove(id);
        }
    }

    fn unlink(&mut self, id: &ResourceId) {
        let owners: Vec<String> = self
            .objects
            .get(id)
            .map(|stored| stored.owner_references().filter_map(|owner| Some(owner["uid"].as_str()?.to_owned())).collect())
            .unwrap_or_default();
        for owner in owners {
            if let Some(children) = self.children.get_mut(&owner) {
                children.remove(id);
            }
        }
    }

    /// Writes an object as a client sees it, under a served version.
    pub(super) fn render(&self, stored: &Stored, version: Option<&str>) -> Option<Manifest> {
        let mut value = stored.value.clone();
        if let Some(version) = version
            && let Some(api_version) = value["apiVersion"].as_str()
        {
            let group = api_version.rsplit_once('/').map_or(String::new(), |(group, _)| format!("{group}/"));
            value["apiVersion"] = Value::from(format!("{group}{version}"));
        }
        let entries: Vec<Value> = stored.owners.iter().map(entry).collect();
        if !entries.is_empty() {
            value["metadata"]["managedFields"] = Value::from(entries);
        }
        Manifest::try_from(value).ok()
    }

    fn tell(&mut self, id: &ResourceId, event: fn(Manifest) -> WatchEvent) {
        let Some(stored) = self.objects.get(id) else { return };
        let mut told = Vec::new();
        for (place, watcher) in self.watchers.iter().enumerate() {
            let in_scope = watcher.namespace.is_none() || watcher.namespace == id.namespace;
            if watcher.resource.kind == id.kind && in_scope && !watcher.broken {
                told.extend(self.render(stored, Some(&watcher.resource.version)).map(|manifest| (place, manifest)));
            }
        }
        for (place, manifest) in told {
            // A receiver that is gone is dropped below.
            let _ = self.watchers[place].sender.unbounded_send(Ok(event(manifest)));
        }
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
    }
}

/// Writes a time as objects do: RFC 3339, whole seconds.
pub(super) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn entry(owner: &Owner) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".to_owned(), Value::from(owner.manager.as_str()));
    entry.insert("operation".to_owned(), Value::from(if owner.operation == Operation::Apply { "Apply" } else { "Update" }));
    entry.insert("apiVersion".to_owned(), Value::from(owner.api_version.as_str()));
    entry.insert("time".to_owned(), Value::from(stamp(owner.time)));
    entry.insert("fieldsType".to_owned(), Value::from("FieldsV1"));
    entry.insert("fieldsV1".to_owned(), owner.fields.to_json());
    if let Some(subresource) = &owner.subresource {
        entry.insert("subresource".to_owned(), Value::from(subresource.as_str()));
    }
    Value::Object(entry)
}
