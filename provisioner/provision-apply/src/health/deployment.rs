use jiff::Timestamp;
use provision_model::{Cause, Evidence, Health, Manifest, Verdict};

use super::context::Context;
use super::creation;
use super::fields::{Condition, condition, conditions, count, flag, list, number, text};
use super::symptom::{Assessment, Patience, Symptom};
use super::workload;

const REVISION: &str = "deployment.kubernetes.io/revision";
/// The API server's stand-in for "no deadline".
const NO_DEADLINE: i64 = 2_147_483_647;

pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    if flag(subject, "/spec/paused") {
        return Assessment::current("it is paused: a change of its template waits until it goes on");
    }
    let counted = by_counts(subject);
    let pods = newest_pods(subject, context);
    let maker = newest_replica_set(subject, context);
    let mut assessment = workload::conclude(counted, maker.unwrap_or(subject), &pods, (context, now));
    if assessment.verdict.health != Health::Failed {
        assessment = match refused(subject) {
            Some(symptom) => assessment.weigh(vec![symptom], now),
            None => assessment,
        };
    }
    overdue(subject, assessment)
}

fn by_counts(subject: &Manifest) -> Assessment {
    let wanted = number(subject, "/spec/replicas").unwrap_or(1);
    let [total, updated, ready, available] =
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].map(|field| count(subject, &format!("/status/{field}")));
    let deadline = number(subject, "/spec/progressDeadlineSeconds").filter(|seconds| *seconds != NO_DEADLINE);
    let rolled_out = conditions(subject)
        .any(|condition| condition.kind == "Progressing" && condition.is_true() && condition.reason == "NewReplicaSetAvailable");
    let is_available = condition(subject, "Available").is_some_and(|condition| condition.is_true());
    let message = if wanted > total {
        format!("{total} of {wanted} pods are made")
    } else if wanted > updated {
        format!("{updated} of {wanted} pods are of the new revision")
    } else if total > wanted {
        format!("{} pods too many are still ending", total - wanted)
    } else if updated > available {
        format!("{available} of {updated} pods are available")
    } else if wanted > ready {
        format!("{ready} of {wanted} pods are ready")
    } else if deadline.is_some() && !rolled_out {
        "its new ReplicaSet is not available yet".to_owned()
    } else if !is_available {
        "it is not available yet".to_owned()
    } else {
        return Assessment::current(format!("{available} of {wanted} pods are available"));
    };
    Assessment::in_progress(message)
}

/// Turns the controller's own deadline into a failure, with the cause if one is suspected.
fn overdue(subject: &Manifest, assessment: Assessment) -> Assessment {
    let late = |condition: &Condition<'_>| condition.kind == "Progressing" && condition.reason == "ProgressDeadlineExceeded";
    let Some(late) = conditions(subject).find(late) else {
        return assessment;
    };
    if assessment.verdict.cause.is_some() {
        return Verdict { health: Health::Failed, ..assessment.verdict }.into();
    }
    let message = format!("it made no progress within its own deadline: {}", late.says());
    let failed = Verdict::failed(Cause::Deadline, message).with_next("look at its pods and their events, then run again");
    let evidence = Evidence { subject: Some(subject.id().to_string()), message: Some(late.says().to_owned()), ..Evidence::default() };
    failed.with_evidence(evidence).into()
}

/// Returns the ReplicaSet of the wanted template; none before the controller made it.
fn newest_replica_set<'a>(subject: &Manifest, context: &Context<'a>) -> Option<&'a Manifest> {
    let revision = |object: &Manifest| object.annotation(REVISION).and_then(|text| text.parse::<i64>().ok());
    let sets = context.owned(subject, "ReplicaSet");
    match revision(subject) {
        Some(wanted) => sets.into_iter().find(|set| revision(set) == Some(wanted)),
        None => sets.into_iter().max_by_key(|set| (revision(set), super::fields::created(set))),
    }
}

fn newest_pods<'a>(subject: &Manifest, context: &Context<'a>) -> Vec<&'a Manifest> {
    if let Some(set) = newest_replica_set(subject, context) {
        return context.owned(set, "Pod");
    }
    if !context.owned(subject, "ReplicaSet").is_empty() {
        return Vec::new();
    }
    // Files given by hand often leave the ReplicaSet out; then the selector tells.
    let Some(labels) = subject.value().pointer("/spec/selector/matchLabels").and_then(serde_json::Value::as_object) else {
        return Vec::new();
    };
    let selected = |pod: &Manifest| labels.iter().all(|(name, value)| pod.label(name) == value.as_str());
    let owned =
        |pod: &Manifest| list(pod.value(), "/metadata/ownerReferences").iter().any(|owner| text(owner, "/kind") == Some("ReplicaSet"));
    context.all("Pod", subject.namespace()).filter(|pod| selected(pod) && owned(pod)).collect()
}

/// Reads the condition `ReplicaFailure`: pods can't even be made.
///
/// While old pods end, what they used is set free; a refusal is tolerated longer then.
fn refused(subject: &Manifest) -> Option<Symptom> {
    let failure = condition(subject, "ReplicaFailure").filter(|condition| condition.is_true())?;
    let old = count(subject, "/status/replicas") > count(subject, "/status/updatedReplicas");
    let symptom = creation::symptom(subject, failure.says());
    let patience = match symptom.patience {
        Patience::Open => Patience::Open,
        _ => Patience::seconds_after(failure.since, if old { 30 } else { creation::PATIENCE_SECONDS }),
    };
    Some(symptom.patience(patience))
}
