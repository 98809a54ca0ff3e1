//! Why a controller can't make its pods.

use jiff::{SignedDuration, Timestamp};
use provision_model::{Cause, Manifest};

use super::context::Context;
use super::symptom::{Patience, Symptom};

/// How long a refusal is tolerated.
pub(super) const PATIENCE_SECONDS: i64 = 4;
/// A refusal that was not repeated for so long may be one from before the last change.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// Returns what Events of the creator say about pods that could not be made.
pub(super) fn symptoms(creator: &Manifest, context: &Context<'_>, now: Timestamp) -> Vec<Symptom> {
    let events = context.events(creator);
    let Some(refusal) = events.iter().find(|event| event.reason == "FailedCreate") else {
        return Vec::new();
    };
    let made_since = events.iter().any(|event| event.reason == "SuccessfulCreate" && event.last > refusal.last);
    if made_since {
        return Vec::new();
    }
    let symptom = symptom(creator, refusal.message);
    let is_old = refusal.last.is_some_and(|last| now.duration_since(last) > FRESH);
    let patience = match symptom.patience {
        _ if is_old => Patience::Open,
        Patience::Open => Patience::Open,
        _ => Patience::seconds_after(refusal.first, PATIENCE_SECONDS),
    };
    vec![symptom.patience(patience)]
}

/// Finds the cause in the API server's refusal to make a pod.
pub(super) fn symptom(creator: &Manifest, refusal: &str) -> Symptom {
    let has = |part: &str| refusal.contains(part);
    let (cause, message, next, patience) = if has("exceeded quota") {
        (Cause::Quota, "the namespace's quota takes no more pods of it", "raise the quota or ask for less", Patience::Over)
    } else if has("usage per Container") || has("usage per Pod") || has("limit to request ratio") {
        (Cause::Quota, "the namespace's limit range refuses its pods", "change the resources of its containers", Patience::Over)
    } else if has("must specify limits") || has("must specify requests") || has("failed quota") {
        (Cause::Quota, "the namespace's quota wants resources that its pods do not state", "set requests and limits", Patience::Over)
    } else if has("error looking up service account") || (has("serviceaccount") && has("not found")) {
        (Cause::ConfigMissing, "its ServiceAccount is not there", "make the ServiceAccount, or correct its name", Patience::Over)
    } else if has("failed calling webhook") {
        let message = "a webhook that must admit its pods does not answer";
        (Cause::Admission, message, "see why the service behind the webhook is down", Patience::Open)
    } else if has("denied the request") || has("forbidden") || has("violates") || has("Invalid value") || has("is invalid") {
        (Cause::Admission, "admission refuses its pods", "change the pod template as the message asks", Patience::Over)
    } else {
        (Cause::Deadline, "its pods can't be made", "see what the API server says", Patience::Open)
    };
    let detail = if refusal.is_empty() { message.to_owned() } else { format!("{message}: {refusal}") };
    Symptom::new(cause, creator, detail).says(refusal).next(next).patience(patience)
}
