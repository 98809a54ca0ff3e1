use jiff::Timestamp;
use provision_model::{Cause, Manifest, Verdict};

use super::context::Context;
use super::fields::{list, text};
use super::symptom::{Assessment, Patience, Symptom};

/// How long a provisioner may fail.
const PROVISIONING_SECONDS: i64 = 8;
/// How long an attachment may fail: another node may still have to let go.
const ATTACH_SECONDS: i64 = 20;

/// Judges a claim. One that waits for its first consumer blocks nothing.
pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    match subject.text("/status/phase") {
        Some("Bound") => return Assessment::current("it is bound"),
        Some("Lost") => {
            return Verdict::failed(Cause::Volume, "its volume is lost").with_next("restore the volume from a backup").into();
        }
        _ => {}
    }
    let events = context.events(subject);
    if let Some(failure) = events.iter().find(|event| matches!(event.reason, "ProvisioningFailed" | "FailedBinding")) {
        let symptom = Symptom::new(Cause::Volume, subject, format!("no volume for it: {}", failure.message))
            .says(failure.message)
            .next("check its storage class and size, and that a volume of that kind is free")
            .patience(Patience::seconds_after(failure.first, PROVISIONING_SECONDS));
        return Assessment::in_progress("it is not bound yet").weigh(vec![symptom], now);
    }
    let class = subject.text("/spec/storageClassName").and_then(|name| context.named("StorageClass", None, name));
    let waits = class.is_some_and(|class| class.text("/volumeBindingMode") == Some("WaitForFirstConsumer"))
        || events.iter().any(|event| matches!(event.reason, "WaitForFirstConsumer" | "WaitForPodScheduled"));
    if waits {
        return Assessment::current("it is not bound: it waits for the first pod that uses it");
    }
    Assessment::in_progress("it is not bound yet")
}

/// Returns why the volumes of a scheduled pod can't be mounted.
pub(super) fn mount_symptom(pod: &Manifest, context: &Context<'_>) -> Option<Symptom> {
    let started = list(pod.value(), "/status/containerStatuses")
        .iter()
        .any(|status| !matches!(text(status, "/state/waiting/reason"), Some("ContainerCreating" | "PodInitializing")));
    if started {
        return None;
    }
    let events = context.events(pod);
    let failure = events.iter().find(|event| matches!(event.reason, "FailedMount" | "FailedAttachVolume"))?;
    let missing =
        ["configmap", "secret", "non-existent config key", "references non-existent"].iter().any(|part| failure.message.contains(part))
            && (failure.message.contains("not found") || failure.message.contains("non-existent"));
    let (cause, text, next, seconds) = if missing {
        let seconds = if failure.count >= 2 { 3 } else { 6 };
        (Cause::ConfigMissing, "a ConfigMap or Secret that it mounts is not there", "make it, or correct the reference", seconds)
    } else {
        (Cause::Volume, "a volume can't be mounted", "see whether another node still holds the volume", ATTACH_SECONDS)
    };
    Some(
        Symptom::new(cause, pod, format!("{text}: {}", failure.message))
            .says(failure.message)
            .next(next)
            .patience(Patience::seconds_after(failure.first, seconds)),
    )
}
