use jiff::{SignedDuration, Timestamp};
use provision_model::{GroupKind, Health, Manifest, Verdict};
use serde_json::Value;

use super::context::Context;
use super::fields::{condition, created, list, text};
use super::symptom::Assessment;

/// How long a custom resource without any status may wait for its controller.
pub(crate) const STATUS_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// API groups of Kubernetes itself with the ending `.k8s.io`; others with that ending are add-ons.
const BUILT_IN: [&str; 16] = [
    "admissionregistration",
    "apiextensions",
    "apiregistration",
    "authentication",
    "authorization",
    "certificates",
    "coordination",
    "discovery",
    "events",
    "flowcontrol.apiserver",
    "internal.apiserver",
    "networking",
    "node",
    "rbac.authorization",
    "scheduling",
    "storage",
];

/// Judges what has no rule of its own, by the condition `Ready`.
pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    match (subject.kind(), subject.text("/status/phase")) {
        ("Namespace", Some("Terminating")) => return Verdict::new(Health::Terminating, "it is being deleted").into(),
        ("Namespace", _) => return Assessment::current("it is there"),
        _ => {}
    }
    if let Some(ready) = condition(subject, "Ready") {
        return if ready.is_stale(subject) {
            Assessment::in_progress("its controller has not judged the last change yet")
        } else if ready.is_true() {
            Assessment::current(ready.says())
        } else {
            Assessment::in_progress(format!("it is not ready: {}", ready.says()))
        };
    }
    if is_custom(&subject.group_kind()) && has_no_status(subject) && reports_status(subject, context) {
        let grace_ends = created(subject).and_then(|created| created.checked_add(STATUS_GRACE).ok());
        if let Some(end) = grace_ends.filter(|end| *end > now) {
            return Assessment { review_at: Some(end), ..Assessment::in_progress("no controller has reported on it yet") };
        }
        return Assessment::current("it is there; no controller has reported on it");
    }
    Assessment::current("it is there")
}

/// Tells whether a kind comes from a CustomResourceDefinition, by its group.
pub(crate) fn is_custom(kind: &GroupKind) -> bool {
    match kind.group.strip_suffix(".k8s.io") {
        Some(group) => !BUILT_IN.contains(&group) && group != "resource" && group != "storagemigration",
        None => !matches!(kind.group.as_str(), "" | "apps" | "batch" | "autoscaling" | "policy" | "extensions"),
    }
}

fn has_no_status(subject: &Manifest) -> bool {
    match subject.value().get("status") {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}

/// Tells whether the kind has a status subresource; yes when its definition is not at hand.
fn reports_status(subject: &Manifest, context: &Context<'_>) -> bool {
    let kind = subject.group_kind();
    let is_its = |definition: &&Manifest| {
        definition.text("/spec/group") == Some(&kind.group) && definition.text("/spec/names/kind") == Some(&kind.kind)
    };
    let Some(definition) = context.all("CustomResourceDefinition", None).find(is_its) else {
        return true;
    };
    list(definition.value(), "/spec/versions")
        .iter()
        .find(|version| text(version, "/name") == Some(subject.version()))
        .is_some_and(|version| version.pointer("/subresources/status").is_some())
}
