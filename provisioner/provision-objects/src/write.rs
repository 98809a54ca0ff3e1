//! Writes: server-side apply, create, replace, delete, with owners of fields, generations and preconditions.

use std::collections::BTreeSet;
use std::sync::Arc;

use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::{Value, json};

use crate::fields::{FieldSet, applied, differences};
use crate::merge::{merge, prune};
use crate::objects::{Objects, Operation, Owner, Stored};
use crate::surface::Kind;
use crate::values::{assemble, content, set};
use crate::{ObjectError, defaults, immutable, validate};

/// Whether a write is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// It is.
    Persist,
    /// The server only answers what it would do.
    DryRun,
}

/// What a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The object was not there.
    Absent,
    /// The server accepted it; the object may linger until its finalizers are done.
    Accepted,
}

impl Objects {
    /// Checks that the kind is served in that version and that the namespace is named just when it must be.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn checked_id(&self, manifest: &Manifest) -> Result<ResourceId, ObjectError> {
        let id = manifest.id();
        let Some(kind) = self.kind(&id.kind, Some(manifest.version())) else {
            return Err(ObjectError::NotFound { subject: format!("kind {} in version {}", id.kind, manifest.api_version()) });
        };
        match (kind.resource.namespaced, &id.namespace) {
            (true, None) => Err(validate::bad_request(&id, "an empty namespace may not be set when a resource name is provided")),
            (false, Some(_)) => Err(validate::bad_request(&id, "namespace must not be set on a cluster-scoped object")),
            (true, Some(_)) | (false, None) => Ok(id),
        }
    }

    /// Applies as `manager`, forced.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn apply_as(&mut self, id: &ResourceId, config: &Value, manager: &str, mode: WriteMode) -> Result<Manifest, ObjectError> {
        let live = self.objects.get(id).cloned();
        self.check_namespace(id, live.is_none())?;
        preconditions(id, live.as_deref(), config)?;
        let kind = self.served(id)?;
        let mut wanted = content(config);
        if kind.status {
            set(&mut wanted, "status", None);
        }
        let set_fields = applied(&id.kind, &wanted);
        let before = live.as_ref().map_or_else(|| json!({}), |live| content(&live.value));
        let mut after = merge(&id.kind, &before, &wanted, &mut Vec::new());
        let mut owners = live.as_ref().map(|live| live.owners.clone()).unwrap_or_default();
        let own = owners.iter().position(|owner| owner.manager == manager && owner.operation == Operation::Apply);
        let previous = own.map(|place| owners.remove(place));
        if let Some(previous) = &previous {
            let mut keep = set_fields.clone();
            owners.iter().for_each(|owner| keep.add(&owner.fields));
            prune(&id.kind, &mut after, &previous.fields, &keep, &mut Vec::new());
        }
        keep_address(id, &before, &mut after);
        validate::check(id, &after)?;
        self.complete(id, &mut after)?;
        disown(&mut owners, &differences(&id.kind, &before, &after));
        let api_version = config["apiVersion"].as_str().unwrap_or_default().to_owned();
        owners.push(match previous {
            Some(previous) if previous.fields == set_fields && previous.api_version == api_version => previous,
            _ => Owner {
                manager: manager.to_owned(),
                operation: Operation::Apply,
                subresource: None,
                api_version: api_version.clone(),
                time: self.now(),
                fields: set_fields,
            },
        });
        self.commit(id, &kind, live, Next { api_version, content: after, owners, mode })
    }

    /// Makes an object as `manager`.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn create_as(&mut self, id: &ResourceId, value: &Value, manager: &str) -> Result<Manifest, ObjectError> {
        if self.objects.contains_key(id) {
            return Err(ObjectError::AlreadyExists { subject: id.to_string() });
        }
        self.check_namespace(id, true)?;
        let kind = self.served(id)?;
        if value.pointer("/metadata/resourceVersion").is_some() {
            return Err(validate::bad_request(id, "resourceVersion should not be set on objects to be created"));
        }
        let mut after = content(value);
        if kind.status && id.kind.kind != "Node" {
            set(&mut after, "status", None);
        }
        validate::check(id, &after)?;
        self.complete(id, &mut after)?;
        let api_version = value["apiVersion"].as_str().unwrap_or_default().to_owned();
        let owners = self.owners_of_update(id, Vec::new(), &(json!({}), &after), (manager, None, &api_version));
        self.commit(id, &kind, None, Next { api_version, content: after, owners, mode: WriteMode::Persist })
    }

    /// Replaces an object, or what a subresource of it covers, as `manager`.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn update_as(&mut self, id: &ResourceId, value: &Value, manager: &str, subresource: Option<&str>) -> Result<Manifest, ObjectError> {
        let Some(live) = self.objects.get(id).cloned() else { return Err(ObjectError::NotFound { subject: id.to_string() }) };
        let kind = self.served(id)?;
        preconditions(id, Some(&*live), value)?;
        let conditional = kind.custom || id.kind.kind == "Lease";
        if conditional && value.pointer("/metadata/resourceVersion").is_none() {
            let cause =
                validate::cause("metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0: must be specified for an update");
            return Err(validate::invalid(id, vec![cause]));
        }
        let before = content(&live.value);
        let mut after = content(value);
        match subresource {
            Some("status") => {
                let status = after.get("status").cloned();
                after = before.clone();
                set(&mut after, "status", status);
            }
            Some("scale") => {
                let replicas = after["spec"]["replicas"].clone();
                after = before.clone();
                after["spec"]["replicas"] = replicas;
            }
            _ if kind.status => set(&mut after, "status", before.get("status").cloned()),
            _ => {}
        }
        keep_address(id, &before, &mut after);
        validate::check(id, &after)?;
        self.complete(id, &mut after)?;
        let api_version = value["apiVersion"].as_str().unwrap_or_default().to_owned();
        let owners = self.owners_of_update(id, live.owners.clone(), &(before, &after), (manager, subresource, &api_version));
        let written = self.commit(id, &kind, Some(live), Next { api_version, content: after, owners, mode: WriteMode::Persist })?;
        self.finish_deletion(id);
        Ok(written)
    }

    /// Deletes an object, or marks it while finalizers hold it.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn delete(&mut self, id: &ResourceId, uid: Option<&str>) -> Result<Deletion, ObjectError> {
        let Some(live) = self.objects.get(id).cloned() else { return Ok(Deletion::Absent) };
        if let Some(uid) = uid.filter(|uid| *uid != live.uid()) {
            let message = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", live.uid());
            return Err(ObjectError::Conflict { subject: id.to_string(), message });
        }
        if live.is_terminating() {
            return Ok(Deletion::Accepted);
        }
        let grace = self.grace_of(id, &live);
        if live.has_finalizers() || id.kind == GroupKind::new("", "Namespace") || grace > 0 {
            let mut marked = Stored::clone(&live);
            marked.value["metadata"]["deletionTimestamp"] = Value::from(self.stamp());
            marked.value["metadata"]["deletionGracePeriodSeconds"] = Value::from(grace);
            if let Some(generation) = marked.number("/metadata/generation") {
                marked.value["metadata"]["generation"] = Value::from(generation + 1);
            }
            if id.kind.kind == "Namespace" {
                marked.value["status"] = json!({"phase": "Terminating"});
            }
            self.put(id, marked);
        } else {
            self.remove(id);
        }
        Ok(Deletion::Accepted)
    }

    /// Seconds for which the host is waited for: by a pod on its node, and by a claim; 0 for everything else, and where the host asks for
    /// none.
    fn grace_of(&self, id: &ResourceId, live: &Stored) -> i64 {
        match (id.kind.group.as_str(), id.kind.kind.as_str()) {
            ("", "Pod") if self.settings.graceful && live.text("/spec/nodeName").is_some() => {
                live.number("/spec/terminationGracePeriodSeconds").unwrap_or(30).max(1)
            }
            ("", "PersistentVolumeClaim") if self.settings.graceful => 1,
            _ => 0,
        }
    }

    /// Takes note that nothing of a deleted pod runs any more, or that the data of a deleted claim is gone: it goes, unless finalizers hold
    /// it.
    pub fn note_gone(&mut self, id: &ResourceId) {
        let Some(live) = self.objects.get(id).filter(|live| live.is_terminating() && live.is_in_grace()) else { return };
        let mut marked = Stored::clone(live);
        if marked.has_finalizers() {
            marked.value["metadata"]["deletionGracePeriodSeconds"] = Value::from(0);
            self.put(id, marked);
        } else {
            self.remove(id);
        }
    }

    /// Removes an object that is being deleted and that nothing holds any more.
    pub fn finish_deletion(&mut self, id: &ResourceId) {
        let free = |stored: &Stored| stored.is_terminating() && !stored.has_finalizers() && !stored.is_in_grace();
        if id.kind.kind != "Namespace" && self.objects.get(id).is_some_and(|stored| free(stored)) {
            self.remove(id);
        }
    }

    fn served(&self, id: &ResourceId) -> Result<Kind, ObjectError> {
        self.kind(&id.kind, None).cloned().ok_or_else(|| ObjectError::NotFound { subject: format!("kind {}", id.kind) })
    }

    fn check_namespace(&self, id: &ResourceId, creates: bool) -> Result<(), ObjectError> {
        let Some(namespace) = &id.namespace else { return Ok(()) };
        match self.objects.get(&ResourceId::cluster("", "Namespace", namespace)) {
            None => Err(ObjectError::NotFound { subject: format!("Namespace/{namespace}") }),
            Some(live) if creates && live.is_terminating() => Err(ObjectError::Forbidden {
                verb: "create".to_owned(),
                subject: id.to_string(),
                message: format!("unable to create new content in namespace {namespace} because it is being terminated"),
            }),
            Some(_) => Ok(()),
        }
    }

    fn complete(&self, id: &ResourceId, after: &mut Value) -> Result<(), ObjectError> {
        let serial = self.revision + 1;
        if defaults::needs_address(id, after) {
            let kind = GroupKind::new("", "Service");
            let taken: BTreeSet<&str> = self.range(&kind, None).filter_map(|(_, service)| service.text("/spec/clusterIP")).collect();
            let free = || self.settings.services.free(serial, |address| taken.contains(address.to_string().as_str()));
            let Some(address) = self.reserved.get(id).copied().or_else(free) else {
                let cause = validate::cause("spec.clusterIP", "FieldValueInvalid", "range is full");
                return Err(validate::invalid(id, vec![cause]));
            };
            after["spec"]["clusterIP"] = Value::from(address.to_string());
        }
        defaults::complete(id, after, serial);
        Ok(())
    }

    fn owners_of_update(
        &self,
        id: &ResourceId,
        mut owners: Vec<Owner>,
        (before, after): &(Value, &Value),
        (manager, subresource, api_version): (&str, Option<&str>, &str),
    ) -> Vec<Owner> {
        let found = differences(&id.kind, before, after);
        let same = |owner: &Owner| {
            owner.manager == manager
                && owner.operation == Operation::Update
                && owner.subresource.as_deref() == subresource
                && owner.api_version == api_version
        };
        let own = owners.iter().position(same).map(|place| owners.remove(place));
        disown(&mut owners, &found);
        let (changed, gone) = found;
        let time = own.as_ref().filter(|_| changed.is_empty()).map(|own| own.time);
        let mut fields = own.map(|own| own.fields).unwrap_or_default();
        fields.subtract(&gone);
        fields.add(&changed);
        if !fields.is_empty() {
            owners.push(Owner {
                manager: manager.to_owned(),
                operation: Operation::Update,
                subresource: subresource.map(str::to_owned),
                api_version: api_version.to_owned(),
                time: time.unwrap_or_else(|| self.now()),
                fields,
            });
        }
        owners
    }

    fn commit(&mut self, id: &ResourceId, kind: &Kind, live: Option<Arc<Stored>>, next: Next) -> Result<Manifest, ObjectError> {
        let Next { api_version, content: after, mut owners, mode } = next;
        let before = live.as_ref().map(|live| content(&live.value));
        if let Some(before) = &before {
            immutable::check(id, before, &after)?;
        }
        owners.sort_by(|a, b| (a.operation, &a.manager, &a.subresource).cmp(&(b.operation, &b.manager, &b.subresource)));
        let unchanged = live.as_ref().is_some_and(|live| before.as_ref() == Some(&after) && live.owners == owners);
        if let (true, Some(live)) = (unchanged, &live) {
            return self.render(live, api_version.rsplit('/').next()).ok_or_else(|| broken(id));
        }
        let mut value = assemble(id, &api_version, live.as_ref().map(|live| &live.value), &after);
        match &before {
            None => {
                value["metadata"]["uid"] = Value::from(self.next_uid());
                value["metadata"]["creationTimestamp"] = Value::from(self.stamp());
                if kind.generations {
                    value["metadata"]["generation"] = Value::from(1);
                }
            }
            Some(before) if kind.generations && body(before) != body(&after) => {
                let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
                value["metadata"]["generation"] = Value::from(generation + 1);
            }
            Some(_) => {}
        }
        let stored = Stored { value, owners };
        if mode == WriteMode::DryRun {
            return self.render(&stored, None).ok_or_else(|| broken(id));
        }
        self.put(id, stored);
        self.objects.get(id).and_then(|stored| self.render(stored, None)).ok_or_else(|| broken(id))
    }
}

struct Next {
    api_version: String,
    content: Value,
    owners: Vec<Owner>,
    mode: WriteMode,
}

/// Takes from every owner the fields that someone else changed or removed.
fn disown(owners: &mut Vec<Owner>, (changed, gone): &(FieldSet, FieldSet)) {
    for owner in owners.iter_mut() {
        owner.fields.subtract(changed);
        owner.fields.subtract(gone);
    }
    owners.retain(|owner| !owner.fields.is_empty());
}

/// A Service keeps the address that it has when the writer names none.
fn keep_address(id: &ResourceId, before: &Value, after: &mut Value) {
    let named = after["spec"]["clusterIP"].as_str().is_some_and(|address| !address.is_empty());
    if id.kind == GroupKind::new("", "Service") && !named && after["spec"].is_object() {
        for field in ["clusterIP", "clusterIPs"] {
            let held = before.get("spec").and_then(|spec| spec.get(field)).cloned();
            set(&mut after["spec"], field, held);
        }
    }
}

fn preconditions(id: &ResourceId, live: Option<&Stored>, value: &Value) -> Result<(), ObjectError> {
    let conflict = |message: String| Err(ObjectError::Conflict { subject: id.to_string(), message });
    let wanted = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let found = |pointer: &str| live.and_then(|live| live.text(pointer)).unwrap_or_default();
    if let Some(uid) = wanted("/metadata/uid").filter(|uid| *uid != found("/metadata/uid")) {
        return match live {
            Some(live) => conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", live.uid())),
            None => conflict(format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found")),
        };
    }
    // What is not there has no version that could differ.
    match wanted("/metadata/resourceVersion").filter(|_| live.is_some()) {
        Some(version) if version != found("/metadata/resourceVersion") => {
            conflict("the object has been modified; please apply your changes to the latest version and try again".to_owned())
        }
        _ => Ok(()),
    }
}

/// What counts for the generation: everything but metadata and status.
fn body(content: &Value) -> Value {
    let mut body = content.clone();
    set(&mut body, "metadata", None);
    set(&mut body, "status", None);
    body
}

fn broken(id: &ResourceId) -> ObjectError {
    ObjectError::Broken { subject: id.to_string() }
}
