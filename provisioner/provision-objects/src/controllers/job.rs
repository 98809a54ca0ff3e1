//! Jobs: pods until enough of them ended well, or too many badly.

use jiff::{SignedDuration, Timestamp};
use provision_model::ResourceId;
use serde_json::{Value, json};

use super::pod::NewPod;
use super::replicas::suffix;
use super::{Surroundings, conditions, is_true};
use crate::objects::{Objects, Stored};

/// Longest wait between two pods of a Job.
const LONGEST_RETRY: SignedDuration = SignedDuration::from_mins(6);

/// How a Job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Goes,
    Suspended,
    Done,
    Lost,
    Overdue,
}

impl Objects {
    /// Moves one Job on.
    pub(crate) fn run_job(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        if is_true(&stored.value, "Complete") || is_true(&stored.value, "Failed") {
            self.forget_job(id, stored);
            return;
        }
        let number = |pointer: &str, otherwise: i64| usize::try_from(stored.number(pointer).unwrap_or(otherwise)).unwrap_or(0);
        let (succeeded, failed) = (self.ended_pods(stored, "Succeeded"), self.ended_pods(stored, "Failed"));
        let standing = if succeeded >= number("/spec/completions", 1) {
            Standing::Done
        } else if failed > number("/spec/backoffLimit", 6) {
            Standing::Lost
        } else if around.overdue.contains(id) || self.is_past_deadline(id, stored) {
            Standing::Overdue
        } else if stored.value["spec"]["suspend"] == true {
            Standing::Suspended
        } else {
            Standing::Goes
        };
        if standing == Standing::Goes {
            let most = number("/spec/parallelism", 1).min(number("/spec/completions", 1) - succeeded);
            self.start_pods(id, stored, (most, failed), around);
        } else {
            self.end_pods(stored);
        }
        let active = self.pods_of(stored).len() - succeeded - failed;
        self.report_job(id, standing, (active, succeeded, failed));
    }

    fn ended_pods(&self, stored: &Stored, phase: &str) -> usize {
        self.pods_of(stored).iter().filter(|(_, pod)| pod.text("/status/phase") == Some(phase)).count()
    }

    /// Starts pods up to `most` at a time, each failure a while after the last.
    fn start_pods(&mut self, id: &ResourceId, stored: &Stored, (most, failed): (usize, usize), around: &Surroundings<'_>) {
        let pods = self.pods_of(stored);
        let ended = |pod: &Stored| matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"));
        let mut active = pods.iter().filter(|(_, pod)| !ended(pod)).count();
        if active >= most {
            return;
        }
        let wait = around.retry.saturating_mul(1 << failed.saturating_sub(1).min(16));
        let wait = SignedDuration::try_from(wait).map_or(LONGEST_RETRY, |wait| wait.min(LONGEST_RETRY));
        let last = pods.iter().filter(|(_, pod)| pod.text("/status/phase") == Some("Failed")).filter_map(|(_, pod)| ended_at(pod)).max();
        if let Some(next) = last.and_then(|last| last.checked_add(wait).ok()).filter(|next| *next > self.now()) {
            self.look_again(id, next);
            return;
        }
        let mut made = pods.len();
        while active < most {
            let name = format!("{}-{}", id.name, suffix(stored.uid(), self.revision, made));
            if let Err(message) = self.spawn(id, stored, NewPod { name, labels: &[], volumes: None }, around) {
                self.event(id, ("Warning", "FailedCreate", &message));
                return;
            }
            (active, made) = (active + 1, made + 1);
        }
    }

    /// Deletes the pods that still run.
    fn end_pods(&mut self, stored: &Stored) {
        for (id, pod) in self.pods_of(stored) {
            if !matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed")) {
                // A pod is never held by a precondition.
                let _ = self.delete(&id, None);
            }
        }
    }

    fn is_past_deadline(&mut self, id: &ResourceId, stored: &Stored) -> bool {
        let started = stored.time("/status/startTime").unwrap_or_else(|| self.now());
        let Some(seconds) = stored.number("/spec/activeDeadlineSeconds") else { return false };
        let Ok(end) = started.checked_add(SignedDuration::from_secs(seconds)) else { return false };
        let past = end <= self.now();
        if !past {
            self.look_again(id, end);
        }
        past
    }

    /// Deletes a Job that ended `ttlSecondsAfterFinished` ago.
    fn forget_job(&mut self, id: &ResourceId, stored: &Stored) {
        let Some(seconds) = stored.number("/spec/ttlSecondsAfterFinished") else { return };
        let list = stored.value["status"]["conditions"].as_array().into_iter().flatten();
        let ended = list.filter_map(|one| one["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok()).max();
        let Some(end) = ended.and_then(|ended| ended.checked_add(SignedDuration::from_secs(seconds)).ok()) else { return };
        if end <= self.now() {
            // The Job is not needed any more; finalizers may hold it.
            let _ = self.delete(id, None);
        } else {
            self.look_again(id, end);
        }
    }

    fn report_job(&mut self, id: &ResourceId, standing: Standing, (active, succeeded, failed): (usize, usize, usize)) {
        let list: &[(&str, &str, &str, &str)] = match standing {
            Standing::Done => &[
                ("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods"),
                ("Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods"),
            ],
            Standing::Lost => &[
                ("FailureTarget", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
                ("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
            ],
            Standing::Overdue => &[("Failed", "True", "DeadlineExceeded", "Job was active longer than specified deadline")],
            Standing::Suspended => &[("Suspended", "True", "JobSuspended", "Job suspended")],
            Standing::Goes => &[],
        };
        let now = self.stamp();
        self.control(id, Some("status"), |job| {
            let started = job["status"]["startTime"].as_str().map_or_else(|| now.clone(), str::to_owned);
            let mut status = json!({"startTime": started, "active": active, "ready": 0, "terminating": 0,
                "succeeded": succeeded, "failed": failed, "uncountedTerminatedPods": {}});
            if !list.is_empty() {
                status["conditions"] = conditions(job, &now, list);
            }
            if standing == Standing::Done {
                status["completionTime"] = Value::from(now.as_str());
            }
            job["status"] = status;
        });
    }
}

/// When the last container of a pod ended; when the pod was made, if nothing says.
fn ended_at(pod: &Stored) -> Option<Timestamp> {
    let ends = pod.value["status"]["containerStatuses"].as_array().into_iter().flatten();
    let last = ends.filter_map(|one| one.pointer("/state/terminated/finishedAt")?.as_str()?.parse().ok()).max();
    last.or_else(|| pod.time("/metadata/creationTimestamp"))
}
