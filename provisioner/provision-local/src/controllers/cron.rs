//! CronJobs: a Job at each time of a schedule.

use croner::Cron;
use croner::parser::CronParser;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use provision_model::{GroupKind, ResourceId};
use provision_objects::{Objects, Stored, is_true};
use serde_json::{Value, json};

/// Schedules that are gone through to find the last one that is past.
const MOST_MISSED: usize = 1000;

/// Moves one CronJob on: what is due is started, the last one only; what is old goes.
pub(crate) fn run_cron_job(objects: &mut Objects, id: &ResourceId, stored: &Stored) {
    let jobs = jobs_of(objects, stored);
    let active: Vec<ResourceId> = jobs.iter().filter(|(_, ended, _)| ended.is_none()).map(|(id, _, _)| id.clone()).collect();
    forget_old(objects, stored, &jobs);
    let mut last = stored.text("/status/lastScheduleTime").map(str::to_owned);
    if stored.value()["spec"]["suspend"] != true {
        match schedule(stored) {
            Ok((cron, zone)) => {
                if let Some(due) = due(objects, id, stored, (&cron, &zone)) {
                    start(objects, id, stored, due, &active);
                    last = Some(due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
                }
            }
            Err(message) => objects.event(id, ("Warning", "UnparseableSchedule", &message)),
        }
    }
    let active: Vec<Value> =
        jobs_of(objects, stored).iter().filter(|(_, ended, _)| ended.is_none()).map(|(id, _, _)| reference(id)).collect();
    objects.control(id, Some("status"), |cron_job| {
        let mut status = json!({});
        if !active.is_empty() {
            status["active"] = Value::from(active);
        }
        if let Some(last) = last {
            status["lastScheduleTime"] = Value::from(last);
        }
        cron_job["status"] = status;
    });
}

fn reference(id: &ResourceId) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "name": id.name, "namespace": id.namespace})
}

/// Its Jobs: id, whether and how they ended, when they were made.
fn jobs_of(objects: &Objects, stored: &Stored) -> Vec<(ResourceId, Option<bool>, Option<Timestamp>)> {
    let kind = GroupKind::new("batch", "Job");
    let owned = objects.owned_by(stored.uid()).into_iter().filter(|id| id.kind == kind);
    let mut jobs: Vec<_> = owned
        .filter_map(|id| {
            let job = objects.get(&id)?;
            let ended = match (is_true(job.value(), "Complete"), is_true(job.value(), "Failed")) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            };
            Some((id, ended, job.time("/metadata/creationTimestamp")))
        })
        .collect();
    jobs.sort_by_key(|(_, _, made)| *made);
    jobs
}

fn schedule(stored: &Stored) -> Result<(Cron, TimeZone), String> {
    let text = stored.text("/spec/schedule").unwrap_or_default();
    let zone = stored.text("/spec/timeZone").unwrap_or("UTC");
    let cron = CronParser::new().parse(text).map_err(|error| format!("invalid schedule `{text}`: {error}"))?;
    let zone = TimeZone::get(zone).map_err(|_| format!("unknown time zone `{zone}`"))?;
    Ok((cron, zone))
}

/// Returns the last schedule that is past and was not served; looks again at the next one.
fn due(objects: &mut Objects, id: &ResourceId, stored: &Stored, (cron, zone): (&Cron, &TimeZone)) -> Option<Timestamp> {
    let now = objects.now();
    let deadline = stored.number("/spec/startingDeadlineSeconds").map(SignedDuration::from_secs);
    let served = stored.time("/status/lastScheduleTime").or_else(|| stored.time("/metadata/creationTimestamp"))?;
    let earliest = deadline.and_then(|deadline| now.checked_sub(deadline).ok()).map_or(served, |least| least.max(served));
    let mut due = None;
    let mut next = following(cron, zone, earliest)?;
    for _ in 0..MOST_MISSED {
        if next > now {
            break;
        }
        due = Some(next);
        next = following(cron, zone, next)?;
    }
    objects.look_again(id, next.max(now.checked_add(SignedDuration::from_secs(1)).unwrap_or(next)));
    due
}

fn following(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let after: Zoned = after.to_zoned(zone.clone());
    cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
}

fn start(objects: &mut Objects, id: &ResourceId, stored: &Stored, due: Timestamp, active: &[ResourceId]) {
    match stored.text("/spec/concurrencyPolicy") {
        Some("Forbid") if !active.is_empty() => {
            let message = "not started, because the last Job still runs and concurrencyPolicy is Forbid";
            objects.event(id, ("Normal", "JobAlreadyActive", message));
            return;
        }
        Some("Replace") => {
            for job in active {
                // A Job that something holds ends with its pods all the same.
                let _ = objects.delete(job, None);
            }
        }
        _ => {}
    }
    let name = format!("{}-{}", id.name, due.as_second() / 60);
    let template = &stored.value()["spec"]["jobTemplate"];
    let namespace = id.namespace.as_deref().unwrap_or_default();
    let job = ResourceId::namespaced("batch", "Job", namespace, &name);
    let value = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace,
        "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        "ownerReferences": Objects::reference_to(id, stored)}, "spec": template["spec"]});
    if let Err(error) = objects.make(&job, &value) {
        objects.event(id, ("Warning", "FailedCreate", &format!("Error creating job: {error}")));
    }
}

fn forget_old(objects: &mut Objects, stored: &Stored, jobs: &[(ResourceId, Option<bool>, Option<Timestamp>)]) {
    for (how, field, otherwise) in [(true, "/spec/successfulJobsHistoryLimit", 3), (false, "/spec/failedJobsHistoryLimit", 1)] {
        let kept = usize::try_from(stored.number(field).unwrap_or(otherwise)).unwrap_or(0);
        let ended: Vec<&ResourceId> = jobs.iter().filter(|(_, ended, _)| *ended == Some(how)).map(|(id, _, _)| id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(kept)) {
            // One that something holds goes later.
            let _ = objects.delete(id, None);
        }
    }
}
