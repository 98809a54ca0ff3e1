//! Jobs: pods until enough of them ended well, or too many badly.

use provision_model::ResourceId;
use serde_json::{Value, json};

use super::super::state::{State, Stored};
use super::pod::NewPod;
use super::replicas::suffix;
use super::{conditions, is_true};

impl State {
    /// Moves one Job on.
    pub(super) fn run_job(&mut self, id: &ResourceId, stored: &Stored) {
        if is_true(&stored.value, "Complete") || is_true(&stored.value, "Failed") {
            return;
        }
        let count =
            |pods: &[(ResourceId, Stored)], phase: &str| pods.iter().filter(|(_, pod)| pod.text("/status/phase") == Some(phase)).count();
        let number = |pointer: &str, otherwise: i64| usize::try_from(stored.number(pointer).unwrap_or(otherwise)).unwrap_or(0);
        let pods = self.pods_of(stored);
        let (succeeded, failed) = (count(&pods, "Succeeded"), count(&pods, "Failed"));
        let done = succeeded >= number("/spec/completions", 1);
        let lost = failed > number("/spec/backoffLimit", 6);
        let overdue = self.scripts.overdue.contains(id);
        let suspended = stored.value["spec"]["suspend"] == true;
        let wanted = number("/spec/parallelism", 1) > 0;
        if wanted && !done && !lost && !overdue && !suspended && pods.len() == succeeded + failed {
            let name = format!("{}-{}", id.name, suffix(stored.uid(), self.revision, pods.len()));
            match self.spawn(id, stored, NewPod { name, labels: &[], volumes: None }) {
                Ok(()) => *self.scripts.job_runs.entry(id.name.clone()).or_default() += 1,
                Err(message) => self.event(id, ("Warning", "FailedCreate", &message)),
            }
        }
        let active = self.pods_of(stored).len() - succeeded - failed;
        let list: &[(&str, &str, &str, &str)] = if done {
            &[
                ("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods"),
                ("Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods"),
            ]
        } else if lost {
            &[
                ("FailureTarget", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
                ("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
            ]
        } else if overdue {
            &[("Failed", "True", "DeadlineExceeded", "Job was active longer than specified deadline")]
        } else if suspended {
            &[("Suspended", "True", "JobSuspended", "Job suspended")]
        } else {
            &[]
        };
        let now = self.stamp();
        self.control(id, Some("status"), |job| {
            let started = job["status"]["startTime"].as_str().map_or_else(|| now.clone(), str::to_owned);
            let mut status = json!({"startTime": started, "active": active, "ready": 0, "terminating": 0,
                "succeeded": succeeded, "failed": failed, "uncountedTerminatedPods": {}});
            if !list.is_empty() {
                status["conditions"] = conditions(job, &now, list);
            }
            if done {
                status["completionTime"] = Value::from(now.as_str());
            }
            job["status"] = status;
        });
    }
}
