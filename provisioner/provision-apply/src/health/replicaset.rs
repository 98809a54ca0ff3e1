use jiff::Timestamp;
use provision_model::{Health, Manifest};

use super::context::Context;
use super::creation;
use super::fields::{condition, count, number};
use super::symptom::{Assessment, Patience};
use super::workload;

pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    let wanted = number(subject, "/spec/replicas").unwrap_or(1);
    let [total, labelled, available, ready] =
        ["replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas"].map(|field| count(subject, &format!("/status/{field}")));
    let refused = condition(subject, "ReplicaFailure").filter(|condition| condition.is_true());
    let counted = if let Some(refused) = refused {
        Assessment::in_progress(format!("pods can't be made: {}", refused.says()))
    } else if wanted > labelled {
        Assessment::in_progress(format!("{labelled} of {wanted} pods are made"))
    } else if wanted > available {
        Assessment::in_progress(format!("{available} of {wanted} pods are available"))
    } else if wanted > ready {
        Assessment::in_progress(format!("{ready} of {wanted} pods are ready"))
    } else if total > wanted {
        Assessment::in_progress(format!("{} pods too many are still ending", total - wanted))
    } else {
        Assessment::current(format!("{available} of {wanted} pods are available"))
    };
    let pods = context.owned(subject, "Pod");
    let assessment = workload::conclude(counted, subject, &pods, (context, now));
    match refused.filter(|_| assessment.verdict.health != Health::Failed) {
        Some(refused) => {
            let symptom = creation::symptom(subject, refused.says());
            let dated = refused.since.is_some() && symptom.patience != Patience::Open;
            let patience = if dated { Patience::seconds_after(refused.since, creation::PATIENCE_SECONDS) } else { Patience::Open };
            assessment.weigh(vec![symptom.patience(patience)], now)
        }
        None => assessment,
    }
}
