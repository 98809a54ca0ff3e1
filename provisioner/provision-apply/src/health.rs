//! Rules that say from objects alone whether one of them is what it should be, and why not.
//!
//! Pure: the objects and the time are inputs. The rules are those of kstatus with its known wrong verdicts put right.

mod container;
mod context;
mod crd;
mod creation;
mod daemonset;
mod deployment;
mod fields;
mod generic;
mod job;
mod logs;
mod network;
mod pod;
mod probe;
mod replicaset;
mod scheduling;
mod statefulset;
mod status_line;
mod symptom;
#[cfg(test)]
mod tests;
mod volume;
mod workload;

use jiff::Timestamp;
use provision_model::{Health, Manifest, Verdict};

use self::context::Context;
use self::fields::{conditions, count, list, number};
pub(crate) use self::generic::is_custom;
pub use self::logs::{LogSource, explain_logs};
pub use self::status_line::StatusLine;
pub(crate) use self::symptom::Assessment;

/// Judges one object by itself and by what surrounds it: what it owns, what it refers to, Events.
///
/// In progress with a cause means: suspected, and tolerated so far. What is paused or suspended is current with a message that says so.
/// Pure: equal inputs give equal verdicts.
pub fn judge(subject: &Manifest, context: &[&Manifest], now: Timestamp) -> Verdict {
    assess(subject, context, now).verdict
}

/// Judges as [`judge`] does and tells when to look again.
pub(crate) fn assess(subject: &Manifest, context: &[&Manifest], now: Timestamp) -> Assessment {
    if subject.is_terminating() {
        return terminating(subject).into();
    }
    if let (Some(wanted), Some(seen)) = (number(subject, "/metadata/generation"), number(subject, "/status/observedGeneration"))
        && wanted != seen
    {
        return Assessment::in_progress("its controller has not seen the last change yet");
    }
    for condition in conditions(subject).filter(|condition| condition.is_true()) {
        match condition.kind {
            "Reconciling" => return Assessment::in_progress(condition.says()),
            "Stalled" => return Verdict::new(Health::Failed, condition.says()).into(),
            _ => {}
        }
    }
    let context = Context::new(context);
    let kind = subject.group_kind();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => deployment::assess(subject, &context, now),
        ("apps", "ReplicaSet") => replicaset::assess(subject, &context, now),
        ("apps", "StatefulSet") => statefulset::assess(subject, &context, now),
        ("apps", "DaemonSet") => daemonset::assess(subject, &context, now),
        ("batch", "Job") => job::assess(subject, &context, now),
        ("batch", "CronJob") => job::assess_schedule(subject),
        ("", "Pod") => pod::assess(subject, &context, now),
        ("", "PersistentVolumeClaim") => volume::assess(subject, &context, now),
        ("", "Service") => network::assess_service(subject, &context),
        ("networking.k8s.io", "Ingress") => network::assess_ingress(subject),
        ("gateway.networking.k8s.io", "Gateway") => network::assess_gateway(subject),
        ("autoscaling", "HorizontalPodAutoscaler") => network::assess_autoscaler(subject),
        ("apiregistration.k8s.io", "APIService") => crd::assess_service(subject),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::assess(subject),
        _ => generic::assess(subject, &context, now),
    }
}

/// Tells whether objects of this kind are ready as soon as they are written: no controller works on them.
pub(crate) fn is_ready_when_written(object: &Manifest) -> bool {
    let kind = object.group_kind();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => object.text("/spec/type") != Some("LoadBalancer"),
        ("", kind) => {
            matches!(
                kind,
                "Namespace" | "ConfigMap" | "Secret" | "ServiceAccount" | "LimitRange" | "ResourceQuota" | "Endpoints" | "PersistentVolume"
            )
        }
        ("networking.k8s.io" | "autoscaling", _) => true,
        (
            "rbac.authorization.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
            | "node.k8s.io"
            | "admissionregistration.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "flowcontrol.apiserver.k8s.io",
            _,
        ) => true,
        ("batch", "CronJob") => true,
        _ => false,
    }
}

/// Tells whether a ready object of this kind must stay ready for a while: it runs containers, and no `minReadySeconds` did that already.
pub(crate) fn must_settle(object: &Manifest) -> bool {
    workload::has_pods(object) && object.kind() != "Job" && count(object, "/spec/minReadySeconds") == 0
}

fn terminating(subject: &Manifest) -> Verdict {
    let finalizers: Vec<_> = list(subject.value(), "/metadata/finalizers").iter().filter_map(|name| name.as_str()).collect();
    let message = if finalizers.is_empty() {
        "it is being deleted".to_owned()
    } else {
        format!("it is being deleted and waits for its finalizers: {}", finalizers.join(", "))
    };
    Verdict::new(Health::Terminating, message)
}
