use jiff::Timestamp;
use provision_model::{Health, Manifest};

use super::context::Context;
use super::fields::{condition, list, time};
use super::symptom::{Assessment, Symptom};
use super::{creation, pod};

/// Tells whether the kind runs pods.
pub(crate) fn has_pods(object: &Manifest) -> bool {
    matches!(
        (object.group_kind().group.as_str(), object.kind()),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") | ("", "Pod")
    )
}

/// Weighs what the counts say against what the pods of the wanted revision show.
///
/// `creator` is the object that makes the pods: its Events tell why there are none.
pub(super) fn conclude(counted: Assessment, creator: &Manifest, pods: &[&Manifest], scene: (&Context<'_>, Timestamp)) -> Assessment {
    let (context, now) = scene;
    let waits = counted.verdict.health != Health::Current;
    let mut symptoms: Vec<Symptom> = Vec::new();
    for pod in pods {
        symptoms.extend(pod::symptoms(pod, context).into_iter().map(|symptom| of_replica(symptom, pod)));
    }
    if waits {
        symptoms.extend(creation::symptoms(creator, context, now));
        if symptoms.is_empty() {
            symptoms.extend(pods.iter().filter_map(|pod| pod::hint(pod, context)).take(1));
        }
    }
    let ready_since = pods.iter().filter_map(|pod| steady_since(pod)).max();
    Assessment { ready_since, ..counted }.weigh(symptoms, now)
}

/// Says in the message which pod it is about.
fn of_replica(mut symptom: Symptom, pod: &Manifest) -> Symptom {
    symptom.message = format!("pod {}: {}", pod.name(), symptom.message);
    symptom
}

/// Returns since when the pod is ready with the containers that run now.
pub(super) fn steady_since(pod: &Manifest) -> Option<Timestamp> {
    let started = ["/status/containerStatuses", "/status/initContainerStatuses"]
        .into_iter()
        .flat_map(|pointer| list(pod.value(), pointer))
        .filter_map(|status| time(status, "/state/running/startedAt"));
    started.chain(condition(pod, "Ready").and_then(|ready| ready.since)).max()
}
