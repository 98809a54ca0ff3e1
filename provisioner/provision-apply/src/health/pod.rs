use jiff::Timestamp;
use provision_model::{Cause, Health, Manifest, Verdict};

use super::context::Context;
use super::fields::{condition, list, text};
use super::symptom::{Assessment, Patience, Symptom};
use super::{container, scheduling, volume, workload};

pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    let phase = subject.text("/status/phase").unwrap_or_default();
    let ready = condition(subject, "Ready");
    let counted = match phase {
        "Succeeded" => return Assessment::current("it ended with success"),
        "Failed" => return ended(subject).into(),
        "Running" if ready.is_some_and(|ready| ready.is_true()) => Assessment::current("it is ready"),
        "Running" => Assessment::in_progress("it runs and is not ready yet"),
        "Pending" => Assessment::in_progress("it has not started yet"),
        "Unknown" => return Verdict::new(Health::Unknown, "its node does not answer").into(),
        _ => Assessment::in_progress("no scheduler has seen it yet"),
    };
    let ready_since = workload::steady_since(subject);
    let mut found = symptoms(subject, context);
    if found.is_empty() && counted.verdict.health != Health::Current {
        found.extend(hint(subject, context));
    }
    Assessment { ready_since, ..counted }.weigh(found, now)
}

/// Returns every sign that the pod may not come up.
pub(super) fn symptoms(pod: &Manifest, context: &Context<'_>) -> Vec<Symptom> {
    if pod.is_terminating() || pod.text("/status/phase") == Some("Succeeded") {
        return Vec::new();
    }
    if pod.text("/status/phase") == Some("Failed") {
        return vec![failed(pod)];
    }
    let mut found = container::symptoms(pod, context);
    if pod.text("/status/phase") == Some("Pending") {
        found.extend(scheduling::symptom(pod, context));
        found.extend(volume::mount_symptom(pod, context));
    }
    found
}

/// Returns what the newest warning about the pod says: better than nothing when its time is up.
pub(super) fn hint(pod: &Manifest, context: &Context<'_>) -> Option<Symptom> {
    let ready = condition(pod, "Ready").is_some_and(|ready| ready.is_true());
    let events = context.events(pod);
    let warning = events.iter().find(|event| event.warning).filter(|_| !ready)?;
    Some(
        Symptom::new(Cause::Deadline, pod, format!("it does not come up: {}", warning.message))
            .says(warning.message)
            .next("see the pod's events and its node"),
    )
}

/// Says how a pod that failed for good ended.
pub(super) fn ended(pod: &Manifest) -> Verdict {
    let symptom = failed(pod);
    let mut verdict = Verdict::new(Health::Failed, symptom.message).with_evidence(symptom.evidence).with_next(symptom.next);
    verdict.cause = symptom.cause;
    verdict
}

/// A pod in phase Failed; its controller, if it has one, makes another.
pub(super) fn failed(pod: &Manifest) -> Symptom {
    let statuses = || ["/status/initContainerStatuses", "/status/containerStatuses"].into_iter().flat_map(|at| list(pod.value(), at));
    let guilty = statuses().find(|status| {
        status.pointer("/state/terminated").is_some_and(|state| state.pointer("/exitCode").and_then(serde_json::Value::as_i64) != Some(0))
    });
    if let Some(status) = guilty {
        return container::ended(pod, status, "/state/terminated").patience(Patience::Open);
    }
    let reason = pod.text("/status/reason").unwrap_or("Failed");
    let message = match pod.text("/status/message") {
        Some(message) => format!("the pod failed ({reason}): {message}"),
        None => format!("the pod failed ({reason})"),
    };
    let mut symptom = Symptom::new(Cause::CrashLoop, pod, message).says(pod.text("/status/message").unwrap_or(reason));
    symptom.cause = None;
    symptom.next("see why the node ended the pod")
}

/// Returns the container of the spec with that name.
pub(super) fn container_spec<'a>(pod: &'a Manifest, name: &str) -> Option<&'a serde_json::Value> {
    ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .flat_map(|pointer| list(pod.value(), pointer))
        .find(|container| text(container, "/name") == Some(name))
}

/// Counts how often containers of the pod ended with a failure so far.
pub(super) fn restarts(status: &serde_json::Value) -> i64 {
    status.pointer("/restartCount").and_then(super::fields::whole).unwrap_or(0)
}
