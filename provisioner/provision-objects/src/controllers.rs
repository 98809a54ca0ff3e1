//! Controllers: pure steps over the objects. A host hands them one queued object at a time until nothing is left to do.

mod deployment;
mod extension;
mod job;
mod network;
mod pod;
mod replicas;
mod rollout;
mod scaling;
mod stateful;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use provision_model::{GroupKind, ResourceId};
use serde_json::{Value, json};

pub use self::pod::PodState;
use crate::ObjectError;
use crate::objects::{Objects, Stored};

/// What controllers know besides the objects and the time.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// Deployments and Jobs whose time is up whatever the clock says.
    pub overdue: &'s BTreeSet<ResourceId>,
    /// Says why something outside of these rules refuses a new pod, if so: a quota.
    pub refusal: &'s dyn Fn(&ResourceId) -> Option<String>,
    /// Wait before the first failed pod of a Job is followed by another; doubled with each.
    pub retry: Duration,
    /// Whether something measures load; where nothing does, autoscalers only keep their bounds, and say so.
    pub measures_load: bool,
}

impl Objects {
    /// Queues an object and everything that depends on its state.
    pub(crate) fn touch(&mut self, id: &ResourceId) {
        self.queue(id.clone());
        let Some(stored) = self.objects.get(id) else { return };
        let mut queued = self.owned_by(stored.uid());
        queued.extend(self.owners_of(id));
        let namespace = id.namespace.as_deref();
        let dependents: &[(&str, &str)] = match id.kind.kind.as_str() {
            "Pod" => &[("", "Service"), ("policy", "PodDisruptionBudget")],
            "ServiceAccount" => &[("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job")],
            "Deployment" | "StatefulSet" => &[("autoscaling", "HorizontalPodAutoscaler")],
            _ => &[],
        };
        for (group, kind) in dependents {
            queued.extend(self.ids(&GroupKind::new(*group, *kind), namespace));
        }
        if matches!(id.kind.kind.as_str(), "ConfigMap" | "Secret" | "PersistentVolumeClaim") {
            let pod = GroupKind::new("", "Pod");
            let waiting = self.range(&pod, namespace).filter(|(_, pod)| pod.text("/status/phase") == Some("Pending"));
            queued.extend(waiting.map(|(id, _)| id.clone()));
        }
        if let Some(namespace) = namespace {
            queued.push(ResourceId::cluster("", "Namespace", namespace));
        }
        queued.into_iter().for_each(|id| self.queue(id));
    }

    /// Names the objects that own another.
    pub fn owners_of(&self, id: &ResourceId) -> Vec<ResourceId> {
        let Some(stored) = self.objects.get(id) else { return Vec::new() };
        let owner = |reference: &Value| -> Option<ResourceId> {
            let api_version = reference["apiVersion"].as_str()?;
            let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
            let kind = GroupKind::new(group, reference["kind"].as_str()?);
            let namespaced = self.kind(&kind, None).is_some_and(|kind| kind.resource.namespaced);
            let namespace = if namespaced { id.namespace.clone() } else { None };
            Some(ResourceId { kind, namespace, name: reference["name"].as_str()?.to_owned() })
        };
        stored.owner_references().filter_map(owner).collect()
    }

    /// Follows owners up to the object that nobody owns.
    pub fn root_of(&self, id: &ResourceId) -> ResourceId {
        let mut root = id.clone();
        for _ in 0..8 {
            match self.owners_of(&root).into_iter().next() {
                Some(owner) => root = owner,
                None => break,
            }
        }
        root
    }

    /// Carries out what deletions ask of a queued object; returns it when it stays and controllers may move it on.
    pub fn tidy(&mut self, id: &ResourceId) -> Option<Arc<Stored>> {
        let Some(stored) = self.objects.get(id).cloned() else {
            if id.kind.kind == "CustomResourceDefinition" {
                self.serve_crds();
            }
            return None;
        };
        if self.is_orphan(&stored) && !stored.is_terminating() {
            // An owner is gone: nobody can object to the deletion of what it left.
            let _ = self.delete(id, None);
            return None;
        }
        if stored.is_terminating() {
            match id.kind.kind.as_str() {
                "Namespace" => self.drain(id),
                _ => self.finish_deletion(id),
            }
            return None;
        }
        Some(stored)
    }

    /// Moves one object on, as its controller does. Pods are the host's: they stay as they are.
    pub fn step(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        match (id.kind.group.as_str(), id.kind.kind.as_str()) {
            ("apps", "Deployment") => self.run_deployment(id, stored, around),
            ("apps", "ReplicaSet") => self.run_replica_set(id, stored, around),
            ("apps", "StatefulSet") => self.run_stateful_set(id, stored, around),
            ("apps", "DaemonSet") => self.run_daemon_set(id, stored, around),
            ("batch", "Job") => self.run_job(id, stored, around),
            ("", "Service") => self.run_service(id, stored),
            ("", "PersistentVolumeClaim") => self.run_claim(id, stored),
            ("", "Namespace") => self.run_namespace(id),
            ("autoscaling", "HorizontalPodAutoscaler") => self.run_autoscaler(id, stored, around),
            ("policy", "PodDisruptionBudget") => self.run_budget(id, stored),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => self.run_crd(id, stored),
            _ => {}
        }
    }

    fn is_orphan(&self, stored: &Stored) -> bool {
        let mut owners = stored.owner_references().peekable();
        owners.peek().is_some()
            && owners.all(|owner| {
                let uid = owner["uid"].as_str().unwrap_or_default();
                let kind = owner["kind"].as_str().unwrap_or_default();
                let name = owner["name"].as_str().unwrap_or_default();
                let namespace = stored.text("/metadata/namespace");
                let alive = |namespace: Option<&str>| {
                    let group = owner["apiVersion"].as_str().and_then(|version| version.rsplit_once('/')).map_or("", |(group, _)| group);
                    let id =
                        ResourceId { kind: GroupKind::new(group, kind), namespace: namespace.map(str::to_owned), name: name.to_owned() };
                    self.objects.get(&id).is_some_and(|live| live.uid() == uid)
                };
                !alive(namespace) && !alive(None)
            })
    }

    /// Changes an object as a controller does; nothing is written when nothing changes.
    pub fn control(&mut self, id: &ResourceId, subresource: Option<&str>, change: impl FnOnce(&mut Value)) {
        let Some(stored) = self.objects.get(id) else { return };
        let mut value = stored.value.clone();
        change(&mut value);
        if value == stored.value {
            return;
        }
        let manager = if id.kind.kind == "Pod" { "kubelet" } else { "kube-controller-manager" };
        // What a controller writes follows from the object that the server took.
        let _ = self.update_as(id, &value, manager, subresource);
    }

    /// Makes an object as a controller does; one that is there stays.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn make(&mut self, id: &ResourceId, value: &Value) -> Result<(), ObjectError> {
        match self.create_as(id, value, "kube-controller-manager") {
            Ok(_) | Err(ObjectError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Records an Event about an object, once for each reason and message.
    pub fn event(&mut self, subject: &ResourceId, (level, reason, message): (&str, &str, &str)) {
        let Some(stored) = self.objects.get(subject) else { return };
        let about = json!({"apiVersion": stored.value["apiVersion"], "kind": subject.kind.kind, "name": subject.name,
            "namespace": subject.namespace, "uid": stored.uid(), "resourceVersion": stored.value["metadata"]["resourceVersion"]});
        let namespace = subject.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let suffix = provision_model::Digest::of_bytes(format!("{}{reason}{message}", stored.uid()).as_bytes());
        let name = format!("{}.{}", subject.name, suffix.short(16));
        let id = ResourceId::namespaced("", "Event", &namespace, &name);
        let (now, count) = (self.stamp(), if level == "Warning" { 3 } else { 1 });
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about, "type": level, "reason": reason, "message": message, "count": count,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "controllers"}});
        // Events are best effort on a real cluster too.
        let _ = self.make(&id, &event);
    }

    /// Builds the reference by which `id` owns other objects.
    pub fn reference_to(id: &ResourceId, stored: &Stored) -> Value {
        json!([{"apiVersion": stored.value["apiVersion"], "kind": id.kind.kind, "name": id.name, "uid": stored.uid(),
            "controller": true, "blockOwnerDeletion": true}])
    }
}

/// Builds `status.conditions`; a condition that did not turn keeps its time.
pub fn conditions(previous: &Value, now: &str, wanted: &[(&str, &str, &str, &str)]) -> Value {
    let old = |kind: &str| previous["status"]["conditions"].as_array().into_iter().flatten().find(move |old| old["type"] == kind);
    let build = |(kind, status, reason, message): &(&str, &str, &str, &str)| {
        let since =
            old(kind).filter(|old| old["status"] == *status).map_or_else(|| Value::from(now), |old| old["lastTransitionTime"].clone());
        let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": since});
        for (field, text) in [("reason", reason), ("message", message)] {
            if !text.is_empty() {
                condition[field] = Value::from(*text);
            }
        }
        condition
    };
    Value::from(wanted.iter().map(build).collect::<Vec<_>>())
}

/// Tells whether a condition of an object is True.
pub fn is_true(value: &Value, condition: &str) -> bool {
    value["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == condition && one["status"] == "True"))
}

/// Tells whether a label selector (`matchLabels`, or a plain map) selects an object.
pub fn selects(labels: &Value, object: &Value) -> bool {
    let wanted = labels.as_object();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted.iter().all(|(name, value)| object.pointer("/metadata/labels").and_then(|labels| labels.get(name)) == Some(value))
    })
}
