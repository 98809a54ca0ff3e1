use provision_model::{Cause, Manifest};

use super::context::{Context, Happening};
use super::fields::{condition, created, list, text};
use super::symptom::{Patience, Symptom};

/// How long the scheduler may find no node: taints go, other pods end.
const SCHEDULING_SECONDS: i64 = 8;
/// How long a new node may take once an autoscaler has asked for it.
const SCALE_UP_SECONDS: i64 = 300;

/// Returns why the scheduler finds no node for the pod.
pub(super) fn symptom(pod: &Manifest, context: &Context<'_>) -> Option<Symptom> {
    let scheduled = condition(pod, "PodScheduled").filter(|condition| condition.is_false() && condition.reason == "Unschedulable")?;
    let events = context.events(pod);
    let message = if scheduled.message.is_empty() {
        events.iter().find(|event| event.reason == "FailedScheduling").map_or(scheduled.says(), |event| event.message)
    } else {
        scheduled.message
    };
    let since = scheduled.since.or_else(|| created(pod));
    if let Some((detail, patience)) = claims(pod, context, message) {
        let text = format!("its volumes are not there: {detail}");
        let patience = patience.unwrap_or_else(|| Patience::seconds_after(since, SCHEDULING_SECONDS));
        let next = "check the claim's storage class and size, and that a volume of that kind is free";
        return Some(Symptom::new(Cause::Volume, pod, text).says(message).next(next).patience(patience));
    }
    let scale_up = events.iter().find(|event| event.reason == "TriggeredScaleUp");
    let patience = match scale_up {
        Some(event) => Patience::seconds_after(event.last, SCALE_UP_SECONDS),
        None => Patience::seconds_after(since, SCHEDULING_SECONDS),
    };
    let text = match scale_up {
        Some(event) => format!("no node takes it yet, more nodes were asked for: {}", event.message),
        None => format!("no node takes it: {message}"),
    };
    Some(
        Symptom::new(Cause::Unschedulable, pod, text)
            .says(message)
            .next("add nodes, ask for less, or change its node selector, affinity and tolerations")
            .patience(patience),
    )
}

/// Tells what is wrong with the claims of a pod that waits for them; patience only where it is not the usual one.
fn claims(pod: &Manifest, context: &Context<'_>, message: &str) -> Option<(String, Option<Patience>)> {
    let about_volumes = ["PersistentVolumeClaim", "persistentvolumeclaim", "persistent volumes to bind", "volume node affinity conflict"];
    if !about_volumes.iter().any(|part| message.contains(part)) {
        return None;
    }
    let claims = list(pod.value(), "/spec/volumes").iter().filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
    for claim in claims.filter_map(|name| context.named("PersistentVolumeClaim", pod.namespace(), name)) {
        if claim.text("/status/phase") == Some("Bound") {
            continue;
        }
        let events = context.events(claim);
        let newest = |reasons: &[&str]| -> Option<Happening<'_>> { events.iter().find(|event| reasons.contains(&event.reason)).copied() };
        if let Some(failure) = newest(&["ProvisioningFailed", "FailedBinding"]) {
            return Some((format!("claim {}: {}", claim.name(), failure.message), None));
        }
        if let Some(progress) = newest(&["Provisioning", "ExternalProvisioning"]) {
            return Some((format!("claim {}: {}", claim.name(), progress.message), Some(Patience::Open)));
        }
    }
    Some((message.to_owned(), None))
}
