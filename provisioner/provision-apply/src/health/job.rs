use jiff::Timestamp;
use provision_model::{Cause, Evidence, Manifest, Verdict};

use super::context::Context;
use super::fields::{condition, count, created, flag, number};
use super::symptom::{Assessment, Patience, Symptom};
use super::{creation, pod};

/// Judges a Job: started is not done.
pub(super) fn assess(subject: &Manifest, context: &Context<'_>, now: Timestamp) -> Assessment {
    let is_true = |kind: &str| condition(subject, kind).filter(|condition| condition.is_true());
    if is_true("Complete").is_some() {
        return Assessment::current("it completed");
    }
    // `FailureTarget` comes first, while the last pods still end.
    if let Some(failed) = is_true("Failed").or_else(|| is_true("FailureTarget")) {
        return failure(subject, context, (failed.reason, failed.message)).into();
    }
    let goes_on = subject.value().pointer("/spec/suspend").and_then(serde_json::Value::as_bool) == Some(false);
    if is_true("Suspended").is_some() && !goes_on {
        return Assessment::current("it is suspended: it starts when someone lets it go on");
    }
    if subject.text("/status/startTime").is_none() && count(subject, "/status/active") == 0 {
        return Assessment::in_progress("it has not started yet").weigh(creation::symptoms(subject, context, now), now);
    }
    let done = count(subject, "/status/succeeded");
    let wanted = number(subject, "/spec/completions").unwrap_or(1);
    let counted = Assessment::in_progress(format!("{done} of {wanted} runs are done"));
    let mut symptoms = creation::symptoms(subject, context, now);
    for pod in context.owned(subject, "Pod") {
        symptoms.extend(pod::symptoms(pod, context).into_iter().map(of_run));
    }
    counted.weigh(symptoms, now)
}

/// A run that ends with an error is the Job's own matter: it knows how often it tries again.
fn of_run(symptom: Symptom) -> Symptom {
    match symptom.cause {
        Some(Cause::CrashLoop | Cause::Oom) | None => symptom.patience(Patience::Open),
        _ => symptom,
    }
}

fn failure(subject: &Manifest, context: &Context<'_>, said: (&str, &str)) -> Verdict {
    let (reason, message) = said;
    let mut failed: Vec<_> =
        context.owned(subject, "Pod").into_iter().filter(|pod| pod.text("/status/phase") != Some("Succeeded")).collect();
    failed.sort_by_key(|pod| (pod.text("/status/phase") == Some("Failed"), created(pod)));
    let last = failed.last().map(|pod| {
        let found = pod::symptoms(pod, context);
        found.into_iter().next().unwrap_or_else(|| pod::failed(pod))
    });
    let what = match reason {
        "BackoffLimitExceeded" => "the Job failed as often as it may",
        "DeadlineExceeded" => "the Job did not end in its time",
        "PodFailurePolicy" => "the Job failed by its pod failure policy",
        _ => "the Job failed",
    };
    let evidence = last
        .as_ref()
        .map_or_else(|| Evidence { subject: Some(subject.id().to_string()), ..Evidence::default() }, |symptom| symptom.evidence.clone());
    let detail = last.map_or_else(|| message.to_owned(), |symptom| symptom.message);
    let text = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
    let says = [message, reason].into_iter().find(|text| !text.is_empty()).map(str::to_owned);
    Verdict::failed(Cause::JobFailed, text)
        .with_evidence(Evidence { message: evidence.message.clone().or(says), ..evidence })
        .with_next("read the log lines of its last run; correct what they name and run again")
}

/// Judges a CronJob: nothing to wait for.
pub(super) fn assess_schedule(subject: &Manifest) -> Assessment {
    Assessment::current(if flag(subject, "/spec/suspend") { "it is suspended: it starts no runs" } else { "its schedule is set" })
}
