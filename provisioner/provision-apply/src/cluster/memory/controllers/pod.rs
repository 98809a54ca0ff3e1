//! The kubelet and the scheduler: what becomes of a pod.

use provision_model::{GroupKind, ResourceId};
use serde_json::{Value, json};

use super::super::state::{State, Stored};
use super::conditions;

/// What becomes of the pods of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PodScript {
    /// They run and are ready; the pods of a Job exit with 0.
    #[default]
    Ready,
    /// They run, but the readiness probe fails with this message; the pods of a Job never end.
    NeverReady {
        /// What the probe says.
        message: String,
    },
    /// No node takes them.
    Unschedulable {
        /// What the scheduler says.
        message: String,
    },
    /// The image can't be pulled.
    ImagePullBackOff {
        /// What the registry says.
        message: String,
    },
    /// The container exits again and again; the pods of a Job fail.
    CrashLoop {
        /// Exit code.
        exit_code: i32,
        /// What it writes before.
        log: Vec<String>,
    },
    /// The first init container exits again and again.
    InitCrashLoop {
        /// Exit code.
        exit_code: i32,
        /// What it writes before.
        log: Vec<String>,
    },
    /// The container is killed for using too much memory, again and again.
    OutOfMemory,
}

/// What a pod comes to: phase, whether it is ready, state of its containers, and what is told about it.
struct Outcome {
    phase: &'static str,
    ready: bool,
    scheduled: Result<(), String>,
    containers: Value,
    init_containers: Value,
    events: Vec<(&'static str, String)>,
}

impl State {
    /// Moves one pod on.
    pub(super) fn run_pod(&mut self, id: &ResourceId, stored: &Stored) {
        if matches!(stored.text("/status/phase"), Some("Succeeded" | "Failed")) {
            return;
        }
        let ends = stored.text("/spec/restartPolicy").is_some_and(|policy| policy != "Always");
        let outcome = match self.missing_reference(id, &stored.value["spec"]) {
            Some(missing) => missing,
            None => outcome_of(&self.script_of(id, stored), &stored.value["spec"], ends),
        };
        if outcome.scheduled.is_ok() && stored.text("/spec/nodeName").is_none() {
            self.control(id, None, |pod| pod["spec"]["nodeName"] = Value::from("node-1"));
        }
        let now = self.stamp();
        let ip = pod_ip(stored.uid());
        self.control(id, Some("status"), |pod| {
            let started = pod["status"]["startTime"].as_str().map_or_else(|| now.clone(), str::to_owned);
            let list = pod_conditions(&outcome);
            let list: Vec<_> = list.iter().map(|(kind, status, reason, message)| (*kind, *status, *reason, message.as_str())).collect();
            let mut status = json!({"phase": outcome.phase, "conditions": conditions(pod, &now, &list), "qosClass": "Burstable"});
            if outcome.scheduled.is_ok() {
                status["startTime"] = Value::from(started);
                status["hostIP"] = Value::from("192.0.2.1");
                status["podIP"] = Value::from(ip.as_str());
                status["podIPs"] = json!([{"ip": ip}]);
                status["containerStatuses"] = outcome.containers.clone();
                if outcome.init_containers.as_array().is_some_and(|list| !list.is_empty()) {
                    status["initContainerStatuses"] = outcome.init_containers.clone();
                }
            }
            pod["status"] = status;
        });
        for (reason, message) in &outcome.events {
            self.event(id, ("Warning", reason, message));
        }
    }

    /// Finds the script of a pod: by image first, then by the name of its workload.
    pub(in super::super) fn script_of(&self, id: &ResourceId, stored: &Stored) -> PodScript {
        let images: Vec<&str> =
            containers(&stored.value["spec"], "containers").filter_map(|container| container["image"].as_str()).collect();
        let by_image = self.scripts.by_image.iter().find(|(part, _)| images.iter().any(|image| image.contains(part.as_str())));
        if let Some((_, script)) = by_image {
            return script.clone();
        }
        let workload = self.root_of(id).name;
        self.scripts.by_workload.get(&workload).cloned().unwrap_or_default()
    }

    /// Makes a pod for its owner.
    pub(super) fn spawn(&mut self, owner: &ResourceId, stored: &Stored, pod: NewPod<'_>) -> Result<(), String> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let id = ResourceId::namespaced("", "Pod", namespace, &pod.name);
        let refusal = self.requests.refused(super::super::requests::Verb::Create, &id);
        if let Some(error) = refusal {
            let message = match error {
                crate::ClusterError::Quota { message, .. } | crate::ClusterError::Admission { message, .. } => message,
                other => other.to_string(),
            };
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

    fn missing_reference(&self, id: &ResourceId, spec: &Value) -> Option<Outcome> {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let object = |kind: &str, name: &str| self.objects.get(&ResourceId::namespaced("", kind, namespace, name));
        let waiting =
            |reason: &str, message: &str| containers(spec, "containers").map(|one| container_waiting(one, reason, message)).collect();
        for volume in containers(spec, "volumes") {
            let named = [("configMap", "name", "ConfigMap"), ("secret", "secretName", "Secret")];
            for (field, key, kind) in named {
                let Some(name) = volume[field][key].as_str().filter(|_| volume[field]["optional"] != true) else { continue };
                if object(kind, name).is_none() {
                    let message =
                        format!("MountVolume.SetUp failed for volume {} : {} \"{name}\" not found", volume["name"], kind.to_lowercase());
                    return Some(Outcome::waits(waiting("ContainerCreating", ""), ("FailedMount", message)));
                }
            }
            if let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str()
                && object("PersistentVolumeClaim", name).is_none()
            {
                return Some(Outcome::unschedulable(format!("0/1 nodes are available: persistentvolumeclaim \"{name}\" not found.")));
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
                let event = ("Failed", format!("Error: {message}"));
                return Some(Outcome::waits(waiting("CreateContainerConfigError", &message), event));
            }
        }
        None
    }

    /// Lists the pods that an object owns, by name.
    pub(super) fn pods_of(&self, stored: &Stored) -> Vec<(ResourceId, Stored)> {
        let pod = GroupKind::new("", "Pod");
        let owned = self.owned_by(stored.uid()).into_iter().filter(|id| id.kind == pod);
        owned.filter_map(|id| self.objects.get(&id).cloned().map(|stored| (id, stored))).collect()
    }
}

/// A pod to make from the template of its owner.
pub(super) struct NewPod<'p> {
    pub(super) name: String,
    pub(super) labels: &'p [(&'p str, String)],
    pub(super) volumes: Option<Vec<Value>>,
}

impl Outcome {
    fn unschedulable(message: String) -> Self {
        Self {
            phase: "Pending",
            ready: false,
            scheduled: Err(message.clone()),
            containers: json!([]),
            init_containers: json!([]),
            events: vec![("FailedScheduling", message)],
        }
    }

    fn waits(containers: Value, event: (&'static str, String)) -> Self {
        Self { phase: "Pending", ready: false, scheduled: Ok(()), containers, init_containers: json!([]), events: vec![event] }
    }

    fn runs(phase: &'static str, ready: bool, containers: Value) -> Self {
        Self { phase, ready, scheduled: Ok(()), containers, init_containers: json!([]), events: Vec::new() }
    }
}

fn outcome_of(script: &PodScript, spec: &Value, ends: bool) -> Outcome {
    let each = |state: &dyn Fn(&Value) -> Value| -> Value { containers(spec, "containers").map(state).collect() };
    let init: Value = containers(spec, "initContainers").map(|one| container_ended(one, 0, "Completed")).collect();
    let back_off = |name: &str| format!("Back-off restarting failed container {name}");
    match script {
        PodScript::Ready if ends => {
            Outcome { init_containers: init, ..Outcome::runs("Succeeded", false, each(&|one| container_ended(one, 0, "Completed"))) }
        }
        PodScript::Ready => Outcome { init_containers: init, ..Outcome::runs("Running", true, each(&|one| container_running(one, true))) },
        PodScript::NeverReady { message } => {
            let events = if ends { Vec::new() } else { vec![("Unhealthy", format!("Readiness probe failed: {message}"))] };
            Outcome { init_containers: init, events, ..Outcome::runs("Running", false, each(&|one| container_running(one, ends))) }
        }
        PodScript::Unschedulable { message } => Outcome::unschedulable(message.clone()),
        PodScript::ImagePullBackOff { message } => {
            let image = containers(spec, "containers").next().map(|one| one["image"].to_string()).unwrap_or_default();
            let mut outcome = Outcome::waits(
                each(&|one| container_waiting(one, "ImagePullBackOff", &format!("Back-off pulling image {image}: {message}"))),
                ("Failed", format!("Failed to pull image {image}: {message}")),
            );
            outcome.events.push(("BackOff", format!("Back-off pulling image {image}")));
            outcome
        }
        PodScript::CrashLoop { exit_code, .. } if ends => {
            Outcome::runs("Failed", false, each(&|one| container_ended(one, *exit_code, "Error")))
        }
        PodScript::CrashLoop { exit_code, .. } => Outcome {
            events: vec![("BackOff", back_off("app"))],
            ..Outcome::runs("Running", false, each(&|one| container_looping(one, *exit_code, "Error")))
        },
        PodScript::OutOfMemory if ends => Outcome::runs("Failed", false, each(&|one| container_ended(one, 137, "OOMKilled"))),
        PodScript::OutOfMemory => Outcome {
            events: vec![("BackOff", back_off("app"))],
            ..Outcome::runs("Running", false, each(&|one| container_looping(one, 137, "OOMKilled")))
        },
        PodScript::InitCrashLoop { exit_code, .. } => Outcome {
            init_containers: containers(spec, "initContainers").take(1).map(|one| container_looping(one, *exit_code, "Error")).collect(),
            events: vec![("BackOff", back_off("init"))],
            ..Outcome::runs("Pending", false, each(&|one| container_waiting(one, "PodInitializing", "")))
        },
    }
}

fn pod_conditions(outcome: &Outcome) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let done = outcome.phase == "Succeeded";
    let (ready, reason, message) = match (outcome.ready, done) {
        (true, _) => ("True", "", String::new()),
        (false, true) => ("False", "PodCompleted", String::new()),
        (false, false) => ("False", "ContainersNotReady", "containers with unready status".to_owned()),
    };
    match &outcome.scheduled {
        Err(message) => vec![("PodScheduled", "False", "Unschedulable", message.clone())],
        Ok(()) => vec![
            ("PodScheduled", "True", "", String::new()),
            ("Initialized", "True", "", String::new()),
            ("ContainersReady", ready, reason, message.clone()),
            ("Ready", ready, reason, message),
        ],
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

fn container_status(container: &Value, ready: bool, restarts: i64, state: Value) -> Value {
    json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
        "restartCount": restarts, "state": state})
}

fn container_waiting(container: &Value, reason: &str, message: &str) -> Value {
    let mut waiting = json!({"reason": reason});
    if !message.is_empty() {
        waiting["message"] = Value::from(message);
    }
    container_status(container, false, 0, json!({"waiting": waiting}))
}

fn container_running(container: &Value, ready: bool) -> Value {
    container_status(container, ready, 0, json!({"running": {}}))
}

fn container_ended(container: &Value, exit_code: i32, reason: &str) -> Value {
    container_status(container, exit_code == 0, 0, json!({"terminated": {"exitCode": exit_code, "reason": reason}}))
}

fn container_looping(container: &Value, exit_code: i32, reason: &str) -> Value {
    let message = format!("back-off 40s restarting failed container={}", container["name"].as_str().unwrap_or_default());
    let mut status = container_status(container, false, 3, json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}));
    status["lastState"] = json!({"terminated": {"exitCode": exit_code, "reason": reason}});
    status
}

fn pod_ip(uid: &str) -> String {
    let number = uid.rsplit('-').next().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(1);
    format!("10.244.{}.{}", number / 250 % 250, number % 250 + 1)
}
