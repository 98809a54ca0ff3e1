//! Kinds that are kept and have no effect on one machine.

use provision_model::{GroupKind, ResourceId};
use provision_objects::{Objects, conditions};

/// Says why objects of a kind have no effect on one machine; `None` for kinds that have.
pub fn not_enforced(kind: &GroupKind) -> Option<&'static str> {
    let why = match (kind.group.as_str(), kind.kind.as_str()) {
        ("networking.k8s.io", "NetworkPolicy") => "all programs of one machine reach each other",
        ("networking.k8s.io", "Ingress" | "IngressClass") => "nothing listens beyond this machine",
        ("policy", "PodDisruptionBudget") => "there is one machine, which is not drained",
        ("autoscaling", "HorizontalPodAutoscaler") => "nothing measures load, the replicas only stay within the bounds",
        ("", "ResourceQuota" | "LimitRange") => "nobody shares this machine",
        ("rbac.authorization.k8s.io", _) => "whoever reaches the socket may do everything",
        ("storage.k8s.io" | "scheduling.k8s.io", _) => "there is one machine and one disk",
        ("admissionregistration.k8s.io", _) => "nothing is asked before a write",
        ("" | "apps" | "batch" | "apiextensions.k8s.io" | "coordination.k8s.io" | "discovery.k8s.io" | "apiregistration.k8s.io", _) => {
            return None;
        }
        _ => "its controller does not run on one machine",
    };
    Some(why)
}

/// Says in the status of an object that it has no effect here. Only where no writer looks for a version that stays as it was made.
pub(crate) fn say_not_enforced(objects: &mut Objects, id: &ResourceId) {
    let speaks = matches!(id.kind.kind.as_str(), "NetworkPolicy" | "Ingress" | "ResourceQuota");
    let Some(why) = not_enforced(&id.kind).filter(|_| speaks) else { return };
    let message = format!("not enforced locally: {why}");
    let now = objects.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    objects.control(id, Some("status"), |object| {
        let list = conditions(object, &now, &[("Ready", "True", "NotEnforced", &message)]);
        object["status"]["conditions"] = list;
    });
}
