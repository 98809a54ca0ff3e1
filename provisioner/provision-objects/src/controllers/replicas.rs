//! ReplicaSets and DaemonSets: so many pods of one template.

use std::sync::Arc;

use provision_model::{Digest, ResourceId};
use serde_json::{Value, json};

use super::pod::NewPod;
use super::{Surroundings, conditions, is_true};
use crate::objects::{Objects, Stored};

impl Objects {
    /// Moves one ReplicaSet on.
    pub(crate) fn run_replica_set(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        let wanted = usize::try_from(stored.number("/spec/replicas").unwrap_or(1)).unwrap_or(0);
        let pods = self.active_pods_of(stored);
        let mut failure = None;
        for number in pods.len()..wanted {
            let name = format!("{}-{}", id.name, suffix(stored.uid(), self.revision, number));
            if let Err(message) = self.spawn(id, stored, NewPod { name, labels: &[], volumes: None }, around) {
                self.event(id, ("Warning", "FailedCreate", &message));
                failure = Some(message);
                break;
            }
        }
        let mut surplus = pods;
        surplus.sort_by_key(|(_, pod)| is_true(&pod.value, "Ready"));
        let excess = surplus.len().saturating_sub(wanted);
        for (pod, _) in surplus.iter().take(excess) {
            // A pod is never held by a precondition.
            let _ = self.delete(pod, None);
        }
        let pods = self.active_pods_of(stored);
        let ready = pods.iter().filter(|(_, pod)| is_true(&pod.value, "Ready")).count();
        let now = self.stamp();
        self.control(id, Some("status"), |set| {
            let mut status = json!({"observedGeneration": set["metadata"]["generation"], "replicas": pods.len(),
                "fullyLabeledReplicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready});
            if let Some(message) = &failure {
                status["conditions"] = conditions(set, &now, &[("ReplicaFailure", "True", "FailedCreate", message)]);
            }
            set["status"] = status;
        });
    }

    /// Lists the pods of a set that count: those that neither have ended nor are being deleted.
    fn active_pods_of(&self, stored: &Stored) -> Vec<(ResourceId, Arc<Stored>)> {
        let mut pods = self.pods_of(stored);
        pods.retain(|(_, pod)| !pod.is_terminating() && !matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed")));
        pods
    }

    /// Moves one DaemonSet on; there is one node.
    pub(crate) fn run_daemon_set(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        let revision = Digest::of_json(&stored.value["spec"]["template"]).short(10).to_owned();
        let is_new = |pod: &Stored| pod.text("/metadata/labels/controller-revision-hash") == Some(revision.as_str());
        for (pod, live) in self.pods_of(stored) {
            if !is_new(&live) {
                // A pod is never held by a precondition.
                let _ = self.delete(&pod, None);
            }
        }
        if self.pods_of(stored).is_empty() {
            let name = format!("{}-{}", id.name, suffix(stored.uid(), self.revision, 0));
            let labels = [("controller-revision-hash", revision.clone())];
            if let Err(message) = self.spawn(id, stored, NewPod { name, labels: &labels, volumes: None }, around) {
                self.event(id, ("Warning", "FailedCreate", &message));
            }
        }
        let pods = self.pods_of(stored);
        let ready = pods.iter().filter(|(_, pod)| is_true(&pod.value, "Ready")).count();
        self.control(id, Some("status"), |set| {
            set["status"] = json!({"observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": 1,
                "currentNumberScheduled": pods.len(), "updatedNumberScheduled": pods.len(), "numberMisscheduled": 0,
                "numberReady": ready, "numberAvailable": ready, "numberUnavailable": 1 - ready.min(1)});
        });
    }
}

/// Makes the random-looking end of a pod's name.
pub(crate) fn suffix(uid: &str, revision: u64, number: usize) -> String {
    Digest::of_json(&Value::from(format!("{uid}/{revision}/{number}"))).short(5).to_owned()
}
