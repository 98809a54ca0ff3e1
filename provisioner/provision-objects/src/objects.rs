//! Every object with its owners of fields, and what waits for the controllers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;
use provision_model::{ApiResource, ApiSurface, GroupKind, Manifest, ResourceId};
use serde_json::{Value, json};

use crate::fields::FieldSet;
use crate::surface::{self, Kind};
use crate::{Change, Settings, record};

/// How a write came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owner {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) subresource: Option<String>,
    pub(crate) api_version: String,
    pub(crate) time: Timestamp,
    pub(crate) fields: FieldSet,
}

/// One object with the owners of its fields.
#[derive(Debug, Clone)]
pub struct Stored {
    pub(crate) value: Value,
    pub(crate) owners: Vec<Owner>,
}

impl Stored {
    /// Returns the object, without `managedFields`.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns a text of the object.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// Returns a whole number of the object.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.value.pointer(pointer).and_then(Value::as_i64)
    }

    /// Returns a time of the object.
    pub fn time(&self, pointer: &str) -> Option<Timestamp> {
        self.text(pointer)?.parse().ok()
    }

    /// Returns the UID.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid").unwrap_or_default()
    }

    /// Tells whether the object is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// Tells whether a manager owns a field of the object.
    pub fn is_owned_by(&self, manager: &str) -> bool {
        self.owners.iter().any(|owner| owner.manager == manager)
    }

    /// Lists the references to the objects that own this one.
    pub fn owner_references(&self) -> impl Iterator<Item = &Value> {
        self.value.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
    }

    /// Tells whether something holds the object back from being deleted.
    pub(crate) fn has_finalizers(&self) -> bool {
        self.value.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
    }

    /// Tells whether the host has yet to say that nothing of the object runs.
    pub(crate) fn is_in_grace(&self) -> bool {
        self.number("/metadata/deletionGracePeriodSeconds").is_some_and(|seconds| seconds > 0)
    }
}

/// Everything that an API server keeps, and the rules by which it does.
///
/// Equal calls at equal times give equal objects. Every change is noted until [`Objects::take_changes`] hands it out.
#[derive(Clone)]
pub struct Objects {
    pub(crate) objects: BTreeMap<ResourceId, Arc<Stored>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) revision: u64,
    pub(crate) made: u64,
    pub(crate) settings: Settings,
    pub(crate) changes: Vec<Change>,
    now: Timestamp,
    /// Objects that the controllers have yet to look at.
    queue: BTreeSet<ResourceId>,
    /// When an object is to be looked at again though nothing changed.
    alarms: BTreeMap<ResourceId, Timestamp>,
    children: HashMap<String, BTreeSet<ResourceId>>,
    /// Addresses of Services that the host decides.
    pub(crate) reserved: BTreeMap<ResourceId, Ipv4Addr>,
}

impl Objects {
    /// Starts with what a new cluster has: system namespaces and one node.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let mut objects = Self::empty(settings, now);
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            objects.seed(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        }
        objects.seed(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}));
        objects
    }

    pub(crate) fn empty(settings: Settings, now: Timestamp) -> Self {
        Self {
            objects: BTreeMap::new(),
            kinds: surface::built_in(),
            // As in etcd: no object ever has the version 1.
            revision: 1,
            made: 0,
            settings,
            changes: Vec::new(),
            now,
            queue: BTreeSet::new(),
            alarms: BTreeMap::new(),
            children: HashMap::new(),
            reserved: BTreeMap::new(),
        }
    }

    fn seed(&mut self, value: Value) {
        if let Ok(manifest) = Manifest::try_from(value)
            && let Ok(id) = self.checked_id(&manifest)
        {
            // The seeds are valid; nothing can refuse them.
            let _ = self.create_as(&id, manifest.value(), "kube-apiserver");
        }
    }

    /// Sets the time of everything that follows (UTC).
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Decides the address of a Service that is made later and names none.
    pub fn reserve(&mut self, service: &ResourceId, address: Ipv4Addr) {
        self.reserved.insert(service.clone(), address);
    }

    /// Returns the greatest version given.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns how many UIDs were given.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Returns what is served.
    pub fn surface(&self) -> ApiSurface {
        ApiSurface { resources: self.kinds.iter().map(|kind| kind.resource.clone()).collect() }
    }

    /// Finds a kind: under `version` if given, else the preferred one.
    pub fn kind(&self, kind: &GroupKind, version: Option<&str>) -> Option<&Kind> {
        let mut served = self.kinds.iter().filter(|served| served.resource.kind == *kind);
        match version {
            Some(version) => served.find(|served| served.resource.version == version),
            None => served.clone().find(|served| served.resource.preferred).or_else(|| served.next()),
        }
    }

    /// Returns an object.
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Stored>> {
        self.objects.get(id)
    }

    /// Goes over all objects.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Arc<Stored>)> {
        self.objects.iter()
    }

    /// Lists the ids of one kind, in one namespace or everywhere.
    pub fn ids(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<ResourceId> {
        self.range(kind, namespace).map(|(id, _)| id.clone()).collect()
    }

    /// Goes over the objects of one kind, in one namespace or everywhere.
    pub fn range<'s>(
        &'s self,
        kind: &'s GroupKind,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s ResourceId, &'s Arc<Stored>)> + 's {
        let first = ResourceId { kind: kind.clone(), namespace: namespace.map(str::to_owned), name: String::new() };
        self.objects
            .range(first..)
            .take_while(move |(id, _)| id.kind == *kind && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace)))
    }

    /// Lists the objects of a kind as clients see them.
    pub fn listing(&self, resource: &ApiResource, namespace: Option<&str>) -> Vec<Manifest> {
        self.range(&resource.kind, namespace).filter_map(|(_, stored)| self.render(stored, Some(&resource.version))).collect()
    }

    /// Writes an object as a client sees it, under a served version.
    pub fn render(&self, stored: &Stored, version: Option<&str>) -> Option<Manifest> {
        let mut value = record(stored);
        if let Some(version) = version
            && let Some(api_version) = value["apiVersion"].as_str()
        {
            let group = api_version.rsplit_once('/').map_or(String::new(), |(group, _)| format!("{group}/"));
            value["apiVersion"] = Value::from(format!("{group}{version}"));
        }
        Manifest::try_from(value).ok()
    }

    /// Lists the objects that name `uid` as an owner.
    pub fn owned_by(&self, uid: &str) -> Vec<ResourceId> {
        self.children.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Queues an object for the controllers.
    pub fn queue(&mut self, id: ResourceId) {
        self.queue.insert(id);
    }

    /// Takes the next queued object.
    pub fn next_queued(&mut self) -> Option<ResourceId> {
        self.queue.pop_first()
    }

    /// Takes all queued objects.
    pub fn take_queue(&mut self) -> BTreeSet<ResourceId> {
        std::mem::take(&mut self.queue)
    }

    /// Queues an object at a later time, or now if that is past.
    pub fn look_again(&mut self, id: &ResourceId, at: Timestamp) {
        if at <= self.now {
            self.queue.insert(id.clone());
        } else {
            let alarm = self.alarms.entry(id.clone()).or_insert(at);
            *alarm = at.min(*alarm);
        }
    }

    /// Returns when the next object is to be looked at again.
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.values().min().copied()
    }

    /// Queues the objects whose time has come.
    pub fn ring(&mut self) {
        let now = self.now;
        let due: Vec<ResourceId> = self.alarms.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.alarms.remove(&id);
            self.queue.insert(id);
        }
    }

    /// Returns the time as objects write it: RFC 3339, whole seconds.
    pub(crate) fn stamp(&self) -> String {
        stamp(self.now)
    }

    /// Makes a new UID.
    pub(crate) fn next_uid(&mut self) -> String {
        self.made += 1;
        self.settings.uids.at(self.made)
    }

    /// Keeps an object under a new resource version and notes it.
    pub(crate) fn put(&mut self, id: &ResourceId, mut stored: Stored) {
        self.revision += 1;
        stored.value["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        let after = Arc::new(stored);
        let before = self.replace(id, Some(after.clone()));
        self.changes.push(Change { id: id.clone(), before, after, is_gone: false });
        self.touch(id);
    }

    /// Forgets an object and notes it.
    pub(crate) fn remove(&mut self, id: &ResourceId) {
        let Some(before) = self.objects.get(id).cloned() else { return };
        self.revision += 1;
        let mut last = Stored::clone(&before);
        last.value["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        self.touch(id);
        self.replace(id, None);
        self.alarms.remove(id);
        self.changes.push(Change { id: id.clone(), before: Some(before), after: Arc::new(last), is_gone: true });
    }

    /// Puts an object in the place of another, and returns that one.
    pub(crate) fn replace(&mut self, id: &ResourceId, stored: Option<Arc<Stored>>) -> Option<Arc<Stored>> {
        let before = self.objects.remove(id);
        for owner in before.iter().flat_map(|before| owner_uids(before)) {
            if let Some(children) = self.children.get_mut(&owner) {
                children.remove(id);
            }
        }
        if let Some(stored) = stored {
            for owner in owner_uids(&stored) {
                self.children.entry(owner).or_default().insert(id.clone());
            }
            self.objects.insert(id.clone(), stored);
        }
        before
    }
}

fn owner_uids(stored: &Stored) -> Vec<String> {
    stored.owner_references().filter_map(|owner| Some(owner["uid"].as_str()?.to_owned())).collect()
}

/// Writes a time as objects do: RFC 3339, whole seconds.
pub(crate) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
