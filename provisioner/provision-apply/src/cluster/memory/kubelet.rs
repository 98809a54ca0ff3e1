//! The kubelet and the scheduler: what becomes of a pod.

use provision_model::ResourceId;
use provision_objects::{PodState, Stored};
use serde_json::{Value, json};

use super::state::State;

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

impl State {
    /// Moves one pod on.
    pub(super) fn run_pod(&mut self, id: &ResourceId, stored: &Stored) {
        if matches!(stored.text("/status/phase"), Some("Succeeded" | "Failed")) {
            return;
        }
        let spec = &stored.value()["spec"];
        let ends = stored.text("/spec/restartPolicy").is_some_and(|policy| policy != "Always");
        let outcome = match self.objects.missing_reference(id, spec) {
            Some(missing) => missing,
            None => outcome_of(&self.script_of(id, stored), spec, ends),
        };
        self.objects.report_pod(id, &PodState { address: pod_ip(stored.uid()), ..outcome });
    }

    /// Finds the script of a pod: by image first, then by the name of its workload.
    pub(super) fn script_of(&self, id: &ResourceId, stored: &Stored) -> PodScript {
        let images: Vec<&str> =
            containers(&stored.value()["spec"], "containers").filter_map(|container| container["image"].as_str()).collect();
        let by_image = self.scripts.by_image.iter().find(|(part, _)| images.iter().any(|image| image.contains(part.as_str())));
        if let Some((_, script)) = by_image {
            return script.clone();
        }
        let workload = self.objects.root_of(id).name;
        self.scripts.by_workload.get(&workload).cloned().unwrap_or_default()
    }
}

fn outcome_of(script: &PodScript, spec: &Value, ends: bool) -> PodState {
    let each = |state: &dyn Fn(&Value) -> Value| -> Vec<Value> { containers(spec, "containers").map(state).collect() };
    let init: Vec<Value> = containers(spec, "initContainers").map(|one| container_ended(one, 0, "Completed")).collect();
    let back_off = |name: &str| format!("Back-off restarting failed container {name}");
    match script {
        PodScript::Ready if ends => {
            PodState { init_containers: init, ..PodState::of("Succeeded", false, each(&|one| container_ended(one, 0, "Completed"))) }
        }
        PodScript::Ready => PodState { init_containers: init, ..PodState::of("Running", true, each(&|one| container_running(one, true))) },
        PodScript::NeverReady { message } => {
            let warnings = if ends { Vec::new() } else { vec![("Unhealthy".to_owned(), format!("Readiness probe failed: {message}"))] };
            PodState { init_containers: init, warnings, ..PodState::of("Running", false, each(&|one| container_running(one, ends))) }
        }
        PodScript::Unschedulable { message } => PodState::unschedulable(message.clone()),
        PodScript::ImagePullBackOff { message } => {
            let image = containers(spec, "containers").next().map(|one| one["image"].to_string()).unwrap_or_default();
            let mut outcome = PodState::waiting(
                each(&|one| container_waiting(one, "ImagePullBackOff", &format!("Back-off pulling image {image}: {message}"))),
                "Failed",
                format!("Failed to pull image {image}: {message}"),
            );
            outcome.warnings.push(("BackOff".to_owned(), format!("Back-off pulling image {image}")));
            outcome
        }
        PodScript::CrashLoop { exit_code, .. } if ends => {
            PodState::of("Failed", false, each(&|one| container_ended(one, *exit_code, "Error")))
        }
        PodScript::CrashLoop { exit_code, .. } => PodState {
            warnings: vec![("BackOff".to_owned(), back_off("app"))],
            ..PodState::of("Running", false, each(&|one| container_looping(one, *exit_code, "Error")))
        },
        PodScript::OutOfMemory if ends => PodState::of("Failed", false, each(&|one| container_ended(one, 137, "OOMKilled"))),
        PodScript::OutOfMemory => PodState {
            warnings: vec![("BackOff".to_owned(), back_off("app"))],
            ..PodState::of("Running", false, each(&|one| container_looping(one, 137, "OOMKilled")))
        },
        PodScript::InitCrashLoop { exit_code, .. } => PodState {
            init_containers: containers(spec, "initContainers").take(1).map(|one| container_looping(one, *exit_code, "Error")).collect(),
            warnings: vec![("BackOff".to_owned(), back_off("init"))],
            ..PodState::of("Pending", false, each(&|one| container_waiting(one, "PodInitializing", "")))
        },
    }
}

fn containers<'v>(spec: &'v Value, group: &str) -> impl Iterator<Item = &'v Value> {
    spec[group].as_array().into_iter().flatten()
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
