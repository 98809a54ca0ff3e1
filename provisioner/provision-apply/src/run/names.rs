//! Names of steps: what is done and to which object.

use provision_model::{GroupKind, ResourceId};
use provision_saga::StepName;

pub(crate) fn apply(id: &ResourceId) -> StepName {
    named("apply", id)
}

pub(crate) fn ready(id: &ResourceId) -> StepName {
    named("ready", id)
}

pub(crate) fn verify(id: &ResourceId) -> StepName {
    named("verify", id)
}

pub(crate) fn delete(id: &ResourceId) -> StepName {
    named("delete", id)
}

pub(crate) fn gone(id: &ResourceId) -> StepName {
    named("gone", id)
}

pub(crate) fn release(id: &ResourceId) -> StepName {
    named("release", id)
}

fn named(verb: &str, id: &ResourceId) -> StepName {
    if is_built_in(&id.kind) {
        return StepName::new(format!("{verb} {id}"));
    }
    let namespace = id.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    StepName::new(format!("{verb} {}/{namespace}{}", id.kind, id.name))
}

/// Tells whether no other group has a kind of that name.
fn is_built_in(kind: &GroupKind) -> bool {
    !kind.group.contains('.') || kind.group.ends_with(".k8s.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_others_are_named_with_their_group() {
        for (id, name) in [
            (ResourceId::namespaced("apps", "Deployment", "n", "a"), "apply Deployment/n/a"),
            (ResourceId::cluster("", "Namespace", "n"), "apply Namespace/n"),
            (ResourceId::namespaced("serving.knative.dev", "Service", "n", "a"), "apply Service.serving.knative.dev/n/a"),
            (ResourceId::namespaced("networking.k8s.io", "Ingress", "n", "a"), "apply Ingress/n/a"),
        ] {
            assert_eq!(apply(&id).as_str(), name);
        }
    }
}
