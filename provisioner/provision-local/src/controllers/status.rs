//! Reports of the runtime as the status of pods.

use provision_model::ResourceId;
use provision_objects::{Objects, PodState, Stored};
use serde_json::{Value, json};

use crate::kubelet::{ContainerReport, ContainerState, Ended, PodReport};

/// Writes down what the runtime says of a pod.
pub(crate) fn report_pod(objects: &mut Objects, id: &ResourceId, pod: &Stored, report: &PodReport) {
    if matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed")) {
        return;
    }
    let spec = &pod.value()["spec"];
    let address = pod.text("/status/podIP").unwrap_or_default().to_owned();
    let wanted = |group: &str| spec[group].as_array().map_or(0, Vec::len);
    let initialized = report.init_containers.len() >= wanted("initContainers") && report.init_containers.iter().all(ended_well);
    let ready = report.containers.len() == wanted("containers") && report.containers.iter().all(|one| one.ready);
    let statuses = |group: &str, reports: &[ContainerReport]| reports.iter().map(|one| status(&spec[group], one)).collect();
    let state = PodState {
        initialized,
        address,
        init_containers: statuses("initContainers", &report.init_containers),
        ..PodState::of(phase(spec, report, initialized), ready, statuses("containers", &report.containers))
    };
    objects.report_pod(id, &state);
}

fn ended_well(container: &ContainerReport) -> bool {
    matches!(&container.state, ContainerState::Ended(ended) if ended.exit_code == 0)
}

fn phase(spec: &Value, report: &PodReport, initialized: bool) -> &'static str {
    let ended = |one: &ContainerReport| matches!(one.state, ContainerState::Ended(_));
    let bad_start = spec["restartPolicy"] == "Never" && report.init_containers.iter().any(|one| ended(one) && !ended_well(one));
    if bad_start {
        return "Failed";
    }
    if !initialized || report.containers.is_empty() {
        return "Pending";
    }
    if report.containers.iter().all(ended) {
        return if report.containers.iter().all(ended_well) { "Succeeded" } else { "Failed" };
    }
    // Once anything has run, the pod is running until all of it has ended.
    let began = |one: &ContainerReport| !matches!(one.state, ContainerState::Waiting { .. }) || one.last.is_some() || one.restarts > 0;
    if report.containers.iter().any(began) { "Running" } else { "Pending" }
}

fn status(specs: &Value, report: &ContainerReport) -> Value {
    let spec = specs.as_array().into_iter().flatten().find(|one| one["name"] == report.name.as_str());
    let state = match &report.state {
        ContainerState::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
        ContainerState::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        ContainerState::Running { since } => json!({"running": {"startedAt": stamp(*since)}}),
        ContainerState::Ended(ended) => json!({"terminated": terminated(ended)}),
    };
    let running = matches!(report.state, ContainerState::Running { .. });
    let mut status = json!({"name": report.name, "image": spec.map(|spec| &spec["image"]), "imageID": "", "ready": report.ready,
        "started": running, "restartCount": report.restarts, "state": state});
    if let Some(last) = &report.last {
        status["lastState"] = json!({"terminated": terminated(last)});
    }
    status
}

fn terminated(ended: &Ended) -> Value {
    let mut value = json!({"exitCode": ended.exit_code, "reason": ended.reason, "startedAt": stamp(ended.started),
        "finishedAt": stamp(ended.finished)});
    if !ended.message.is_empty() {
        value["message"] = Value::from(ended.message.as_str());
    }
    value
}

fn stamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
