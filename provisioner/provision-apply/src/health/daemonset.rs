use jiff::Timestamp;
use provision_model::Manifest;

use super::context::Context;
use super::fields::{count, created, number};
use super::symptom::Assessment;
use super::workload;

const HASH: &str = "controller-revision-hash";

pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    if subject.text("/spec/updateStrategy/type") == Some("OnDelete") && number(subject, "/status/observedGeneration").is_some() {
        let old = count(subject, "/status/desiredNumberScheduled") - count(subject, "/status/updatedNumberScheduled");
        return Assessment::current(match old {
            1.. => format!("warning: {old} pods are still on the old revision; they change when someone deletes them"),
            _ => "its pods change only when someone deletes them".to_owned(),
        });
    }
    workload::conclude(by_counts(subject), subject, &newest_pods(subject, context), (context, now))
}

fn by_counts(subject: &Manifest) -> Assessment {
    if subject.generation().is_some() && number(subject, "/status/observedGeneration").is_none() {
        return Assessment::in_progress("its controller has not seen it yet");
    }
    let Some(wanted) = number(subject, "/status/desiredNumberScheduled") else {
        return Assessment::in_progress("it is not known yet how many nodes it needs");
    };
    for (field, state) in [
        ("currentNumberScheduled", "have a pod"),
        ("updatedNumberScheduled", "have a pod of the new revision"),
        ("numberAvailable", "have an available pod"),
        ("numberReady", "have a ready pod"),
    ] {
        let there = count(subject, &format!("/status/{field}"));
        if wanted > there {
            return Assessment::in_progress(format!("{there} of {wanted} nodes {state}"));
        }
    }
    Assessment::current(format!("{wanted} of {wanted} nodes have a ready pod"))
}

/// Returns the pods of the wanted template: told by the newest ControllerRevision, or the template generation, or the youngest pod.
fn newest_pods<'a>(subject: &Manifest, context: &Context<'a>) -> Vec<&'a Manifest> {
    let pods = context.owned(subject, "Pod");
    let revisions = context.owned(subject, "ControllerRevision");
    if let Some(hash) = revisions.iter().max_by_key(|object| number(object, "/revision")).and_then(|object| object.label(HASH)) {
        return pods.into_iter().filter(|pod| pod.label(HASH) == Some(hash)).collect();
    }
    if let Some(template) = subject.annotation("deprecated.daemonset.template.generation")
        && pods.iter().any(|pod| pod.label("pod-template-generation").is_some())
    {
        return pods.into_iter().filter(|pod| pod.label("pod-template-generation") == Some(template)).collect();
    }
    let newest = pods.iter().max_by_key(|pod| created(pod)).and_then(|pod| pod.label(HASH));
    pods.into_iter().filter(|pod| pod.label(HASH) == newest).collect()
}
