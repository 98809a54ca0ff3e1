//! Pods: made for their owners, and reported on by whatever runs them.

use std::sync::Arc;

use provision_model::{GroupKind, ResourceId};
use serde_json::{Value, json};

use super::{Surroundings, conditions};
use crate::objects::{Objects, Stored};

/// How a pod is, as the host knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct PodState {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: &'static str,
    /// Whether its init containers are done.
    pub initialized: bool,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Whether a node takes it; why not.
    pub scheduled: Result<(), String>,
    /// Whether it is bound to its node with this; one that waits for something may not be yet.
    pub binds: bool,
    /// Its address, once it is scheduled.
    pub address: String,
    /// `containerStatuses`.
    pub containers: Vec<Value>,
    /// `initContainerStatuses`.
    pub init_containers: Vec<Value>,
    /// Warnings to tell: reason, message.
    pub warnings: Vec<(String, String)>,
}

impl PodState {
    /// A pod that no node takes.
    pub fn unschedulable(message: String) -> Self {
        let warnings = vec![("FailedScheduling".to_owned(), message.clone())];
        Self { scheduled: Err(message), warnings, ..Self::of("Pending", false, Vec::new()) }
    }

    /// A pod whose containers wait for something.
    pub fn waiting(containers: Vec<Value>, reason: &str, message: String) -> Self {
        Self { warnings: vec![(reason.to_owned(), message)], ..Self::of("Pending", false, containers) }
    }

    /// A pod on its node.
    pub fn of(phase: &'static str, ready: bool, containers: Vec<Value>) -> Self {
        Self {
            phase,
            initialized: true,
            ready,
            scheduled: Ok(()),
            binds: true,
            address: String::new(),
            containers,
            init_containers: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn conditions(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        let done = self.phase == "Succeeded";
        let (ready, reason, message) = match (self.ready, done) {
            (true, _) => ("True", "", String::new()),
            (false, true) => ("False", "PodCompleted", String::new()),
            (false, false) => ("False", "ContainersNotReady", "containers with unready status".to_owned()),
        };
        let (initialized, missing) = if self.initialized { ("True", "") } else { ("False", "ContainersNotInitialized") };
        match &self.scheduled {
            Err(message) => vec![("PodScheduled", "False", "Unschedulable", message.clone())],
            Ok(()) => vec![
                ("PodScheduled", "True", "", String::new()),
                ("Initialized", initialized, missing, String::new()),
                ("ContainersReady", ready, reason, message.clone()),
                ("Ready", ready, reason, message),
            ],
        }
    }
}

/// A pod to make from the template of its owner.
pub(super) struct NewPod<'p> {
    pub(super) name: String,
    pub(super) labels: &'p [(&'p str, String)],
    pub(super) volumes: Option<Vec<Value>>,
}

impl Objects {
    /// Keeps what the host says of a pod; one on a node is bound to it.
    pub fn report_pod(&mut self, id: &ResourceId, state: &PodState) {
        let Some(stored) = self.objects.get(id) else { return };
        if state.scheduled.is_ok() && state.binds && stored.text("/spec/nodeName").is_none() {
            self.control(id, None, |pod| pod["spec"]["nodeName"] = Value::from("node-1"));
        }
        let now = self.stamp();
        self.control(id, Some("status"), |pod| {
            let started = pod["status"]["startTime"].as_str().map_or_else(|| now.clone(), str::to_owned);
            let list = state.conditions();
            let list: Vec<_> = list.iter().map(|(kind, status, reason, message)| (*kind, *status, *reason, message.as_str())).collect();
            let mut status = json!({"phase": state.phase, "conditions": conditions(pod, &now, &list), "qosClass": "Burstable"});
            if state.scheduled.is_ok() {
                status["startTime"] = Value::from(started);
                status["hostIP"] = Value::from("192.0.2.1");
                if !state.address.is_empty() {
                    status["podIP"] = Value::from(state.address.as_str());
                    status["podIPs"] = json!([{"ip": state.address}]);
                }
                status["containerStatuses"] = Value::from(state.containers.clone());
                if !state.init_containers.is_empty() {
                    status["initContainerStatuses"] = Value::from(state.init_containers.clone());
                }
            }
            pod["status"] = status;
        });
        for (reason, message) in &state.warnings {
            self.event(id, ("Warning", reason, message));
        }
    }

    /// Makes a pod for its owner.
    pub(super) fn spawn(&mut self, owner: &ResourceId, stored: &Stored, pod: NewPod<'_>, around: &Surroundings<'_>) -> Result<(), String> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let id = ResourceId::namespaced("", "Pod", namespace, &pod.name);
        if let Some(message) = (around.refusal)(&id) {
            return Err(format!("Error creating: pods \"{}-\" is forbidden: {message}", owner.name));
        }
        let template = &stored.value["spec"]["template"];
        let account = template["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
        if !self.objects.contains_key(&ResourceId::namespaced("", "ServiceAccount", namespace, &account)) {
            return Err(format!(
                "Error creating: pods \"{}-\" is forbidden: error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found",
                owner.name
            ));
        }
        let mut value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "namespace": namespace,
            "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
            "ownerReferences": Self::reference_to(owner, stored)}, "spec": template["spec"]});
        for (name, text) in pod.labels {
            value["metadata"]["labels"][*name] = Value::from(text.as_str());
        }
        value["spec"]["serviceAccountName"] = Value::from(account);
        if let Some(volumes) = pod.volumes {
            let mut all = volumes;
            all.extend(value["spec"]["volumes"].as_array().into_iter().flatten().cloned());
            value["spec"]["volumes"] = Value::from(all);
        }
        self.make(&id, &value).map_err(|error| format!("Error creating: {error}"))
    }

    /// Says how a pod waits when something that it refers to is not there.
    pub fn missing_reference(&self, id: &ResourceId, spec: &Value) -> Option<PodState> {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let object = |kind: &str, name: &str| self.objects.get(&ResourceId::namespaced("", kind, namespace, name));
        let waiting = |reason: &str, message: &str| {
            containers(spec, "containers").map(|one| container_waiting(one, reason, message)).collect::<Vec<_>>()
        };
        for volume in containers(spec, "volumes") {
            let named = [("configMap", "name", "ConfigMap"), ("secret", "secretName", "Secret")];
            for (field, key, kind) in named {
                let Some(name) = volume[field][key].as_str().filter(|_| volume[field]["optional"] != true) else { continue };
                if object(kind, name).is_none() {
                    let message =
                        format!("MountVolume.SetUp failed for volume {} : {} \"{name}\" not found", volume["name"], kind.to_lowercase());
                    return Some(PodState::waiting(waiting("ContainerCreating", ""), "FailedMount", message));
                }
            }
            if let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str()
                && object("PersistentVolumeClaim", name).is_none()
            {
                return Some(PodState::unschedulable(format!("0/1 nodes are available: persistentvolumeclaim \"{name}\" not found.")));
            }
        }
        for container in containers(spec, "initContainers").chain(containers(spec, "containers")) {
            for (kind, name, key) in references(container) {
                let message = match object(kind, name) {
                    None => format!("{} \"{name}\" not found", kind.to_lowercase()),
                    Some(found) => match key {
                        Some(key) if found.value["data"].get(key).is_none() => {
                            format!("couldn't find key {key} in {kind} {namespace}/{name}")
                        }
                        _ => continue,
                    },
                };
                let containers = waiting("CreateContainerConfigError", &message);
                return Some(PodState::waiting(containers, "Failed", format!("Error: {message}")));
            }
        }
        None
    }

    /// Lists the pods that an object owns, by name; those that are being deleted too.
    pub fn pods_of(&self, stored: &Stored) -> Vec<(ResourceId, Arc<Stored>)> {
        let pod = GroupKind::new("", "Pod");
        let owned = self.owned_by(stored.uid()).into_iter().filter(|id| id.kind == pod);
        owned.filter_map(|id| self.objects.get(&id).cloned().map(|stored| (id, stored))).collect()
    }
}

fn containers<'v>(spec: &'v Value, group: &str) -> impl Iterator<Item = &'v Value> {
    spec[group].as_array().into_iter().flatten()
}

/// Lists what the environment of a container refers to: kind, name, key.
fn references(container: &Value) -> Vec<(&'static str, &str, Option<&str>)> {
    let mut found = Vec::new();
    for variable in containers(container, "env") {
        for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
            let reference = &variable["valueFrom"][field];
            if let Some(name) = reference["name"].as_str().filter(|_| reference["optional"] != true) {
                found.push((kind, name, reference["key"].as_str()));
            }
        }
    }
    for source in containers(container, "envFrom") {
        for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            if let Some(name) = source[field]["name"].as_str().filter(|_| source[field]["optional"] != true) {
                found.push((kind, name, None));
            }
        }
    }
    found
}

/// A container that waits; `containerStatuses` has one for each.
fn container_waiting(container: &Value, reason: &str, message: &str) -> Value {
    let mut waiting = json!({"reason": reason});
    if !message.is_empty() {
        waiting["message"] = Value::from(message);
    }
    json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false, "started": false,
        "restartCount": 0, "state": {"waiting": waiting}})
}
