//! Objects as watches tell them.

use jiff::{SignedDuration, Timestamp};
use provision_model::Manifest;
use serde_json::{Value, json};

use super::super::stream::StreamKey;

/// Returns a time `seconds` after the beginning of the test's time.
pub(super) fn at(seconds: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub(super) fn manifest(value: Value) -> Manifest {
    Manifest::try_from(value).unwrap()
}

pub(super) fn key_of(object: &Manifest) -> StreamKey {
    StreamKey::of(&object.id())
}

/// A Deployment with one replica that is rolled out.
pub(super) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "n", "uid": format!("Deployment-{name}"), "resourceVersion": "10", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}]},
    })
}

pub(super) fn owned(version: &str, kind: &str, name: &str, owner: (&str, &str)) -> Value {
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "n", "uid": format!("{kind}-{name}"), "resourceVersion": "1",
            "ownerReferences": [{"kind": owner.0, "name": owner.1, "uid": format!("{}-{}", owner.0, owner.1)}]},
    })
}

/// The only pod of a ReplicaSet.
pub(super) fn pod_of(set: &str) -> Value {
    let mut pod = owned("v1", "Pod", &format!("{set}-x"), ("ReplicaSet", set));
    pod["spec"] = json!({"containers": [{"name": "web"}]});
    pod
}

pub(super) fn event(kind: &str, name: &str, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "reason": reason, "type": "Warning", "message": reason,
        "metadata": {"name": format!("{kind}.{name}.{reason}"), "namespace": "n", "uid": format!("Event-{kind}-{name}-{reason}"), "resourceVersion": "1"},
        "involvedObject": {"kind": kind, "namespace": "n", "name": name, "uid": format!("{kind}-{name}")},
    })
}
