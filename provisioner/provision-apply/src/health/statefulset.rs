use jiff::Timestamp;
use provision_model::{Cause, Health, Manifest};

use super::context::Context;
use super::fields::{condition, count, number};
use super::symptom::{Assessment, Symptom};
use super::workload;

pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    if subject.text("/spec/updateStrategy/type") == Some("OnDelete") {
        return by_hand(subject);
    }
    let revision = subject.text("/status/updateRevision");
    let is_updated = |pod: &&Manifest| match (pod.label("controller-revision-hash"), revision) {
        (Some(own), Some(wanted)) => own == wanted,
        _ => true,
    };
    let (updated, old): (Vec<_>, Vec<_>) = context.owned(subject, "Pod").into_iter().partition(is_updated);
    let concluded = workload::conclude(by_counts(subject), subject, &updated, (context, now));
    if concluded.verdict.health != Health::InProgress || concluded.verdict.cause.is_some() {
        return concluded;
    }
    concluded.weigh(blocked(subject, &old).into_iter().collect(), now)
}

/// Finds the pod that holds up the new revision: one by one, the controller goes on only past pods that are ready, and so waits for an
/// old one that the new revision was to mend.
fn blocked(subject: &Manifest, old: &[&Manifest]) -> Option<Symptom> {
    if subject.text("/spec/podManagementPolicy") == Some("Parallel") {
        return None;
    }
    // A pod that failed for good is replaced, and so is one that ends already.
    let waits = |pod: &&&Manifest| !pod.is_terminating() && matches!(pod.text("/status/phase"), Some("Pending" | "Running"));
    let pod = old.iter().filter(waits).find(|pod| !condition(pod, "Ready").is_some_and(|ready| ready.is_true()))?;
    let message = format!("pod {} is still of the old revision and not ready: the new revision waits until it is", pod.name());
    let next = "delete that pod (`kubectl delete pod`; on one machine `provision down` and `up`, data stays): the one in its place is of the new revision";
    Some(Symptom::new(Cause::Deadline, pod, message).next(next))
}

/// With `OnDelete` the controller replaces no pod by itself, so there is nothing to wait for.
fn by_hand(subject: &Manifest) -> Assessment {
    let (total, updated) = (count(subject, "/status/replicas"), count(subject, "/status/updatedReplicas"));
    let revisions = (subject.text("/status/currentRevision"), subject.text("/status/updateRevision"));
    if revisions.0 != revisions.1 && total > updated {
        let old = total - updated;
        return Assessment::current(format!("warning: {old} pods are still on the old revision; they change when someone deletes them"));
    }
    Assessment::current("its pods change only when someone deletes them")
}

fn by_counts(subject: &Manifest) -> Assessment {
    let wanted = number(subject, "/spec/replicas").unwrap_or(1);
    let [total, ready, current, updated, available] =
        ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"]
            .map(|field| count(subject, &format!("/status/{field}")));
    if wanted > total {
        return Assessment::in_progress(format!("{total} of {wanted} pods are made"));
    }
    if wanted > ready {
        return Assessment::in_progress(format!("{ready} of {wanted} pods are ready"));
    }
    if total > wanted {
        return Assessment::in_progress(format!("{} pods too many are still ending", total - wanted));
    }
    if count(subject, "/spec/minReadySeconds") > 0 && wanted > available {
        return Assessment::in_progress(format!("{available} of {wanted} pods are available"));
    }
    if let Some(partition) = number(subject, "/spec/updateStrategy/rollingUpdate/partition") {
        if updated < wanted - partition {
            return Assessment::in_progress(format!("{updated} of {} pods are of the new revision", wanted - partition));
        }
        let note = if partition > 0 { format!("; {partition} stay on the old revision by its partition") } else { String::new() };
        return Assessment::current(format!("{ready} of {wanted} pods are ready{note}"));
    }
    if wanted > current {
        return Assessment::in_progress(format!("{current} of {wanted} pods are of the current revision"));
    }
    if subject.text("/status/currentRevision") != subject.text("/status/updateRevision") {
        return Assessment::in_progress("the new revision is still being rolled out");
    }
    Assessment::current(format!("{ready} of {wanted} pods are ready"))
}
