//! Deployments: one ReplicaSet for each template, new before old.

use jiff::{SignedDuration, Timestamp};
use provision_model::{Digest, GroupKind, ResourceId};
use serde_json::{Value, json};

use super::rollout::Bounds;
use super::{Surroundings, conditions};
use crate::objects::{Objects, Stored, stamp};

/// Replica counts over the ReplicaSets of a Deployment.
#[derive(Default)]
struct Counts {
    replicas: i64,
    ready: i64,
    updated: i64,
    updated_ready: i64,
    failure: Option<String>,
}

impl Objects {
    /// Moves one Deployment on.
    pub(crate) fn run_deployment(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let hash = Digest::of_json(&stored.value["spec"]["template"]).short(10).to_owned();
        let newest = ResourceId::namespaced("apps", "ReplicaSet", namespace, &format!("{}-{hash}", id.name));
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        let paused = stored.value["spec"]["paused"] == true;
        let bounds = Bounds::of(&stored.value["spec"], wanted);
        if !paused {
            self.roll_out(id, stored, (&newest, &hash), bounds);
        }
        self.forget_old(stored, &newest);
        self.report_deployment(id, stored, &newest, around);
    }

    /// Brings the wanted number of pods of the newest template up, and those of older ones down.
    fn roll_out(&mut self, id: &ResourceId, stored: &Stored, (newest, hash): (&ResourceId, &str), bounds: Bounds) {
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        let counts = self.count_replica_sets(stored, newest);
        let old_are_gone = counts.replicas == counts.updated && !self.old_pods_linger(stored, newest);
        let recreate = stored.text("/spec/strategy/type") == Some("Recreate");
        let sets = self.replica_sets_of(stored);
        let size = if recreate { wanted } else { self.room_for_new(&sets, newest, bounds, wanted) };
        if !recreate || old_are_gone {
            if self.objects.contains_key(newest) {
                self.scale_set(newest, size);
            } else {
                self.make_replica_set(stored, (id, newest), hash, size);
            }
        }
        if self.objects.contains_key(newest) {
            self.number_revision(id, &sets, newest);
        }
        if recreate {
            self.scale_down_old(stored, newest);
        } else if self.objects.contains_key(newest) {
            let sets = self.replica_sets_of(stored);
            self.shrink_old(&sets, newest, bounds, wanted);
        }
    }

    /// Tells whether something of older templates still runs.
    fn old_pods_linger(&self, stored: &Stored, newest: &ResourceId) -> bool {
        let sets = self.replica_sets_of(stored).into_iter().filter(|set| set != newest);
        sets.filter_map(|set| self.objects.get(&set)).any(|set| !self.pods_of(set).is_empty())
    }

    /// Deletes the oldest ReplicaSets without pods beyond `revisionHistoryLimit`.
    fn forget_old(&mut self, stored: &Stored, newest: &ResourceId) {
        let kept = usize::try_from(stored.number("/spec/revisionHistoryLimit").unwrap_or(10)).unwrap_or(0);
        let mut old: Vec<(u64, ResourceId)> = Vec::new();
        for id in self.replica_sets_of(stored).into_iter().filter(|set| set != newest) {
            let Some(set) = self.objects.get(&id) else { continue };
            if set.number("/spec/replicas") == Some(0) && self.pods_of(set).is_empty() {
                old.push((revision_of(set), id));
            }
        }
        old.sort();
        let excess = old.len().saturating_sub(kept);
        for (_, id) in old.into_iter().take(excess) {
            // Nothing holds a set without pods.
            let _ = self.delete(&id, None);
        }
    }

    fn make_replica_set(&mut self, stored: &Stored, (id, newest): (&ResourceId, &ResourceId), hash: &str, size: i64) {
        let mut template = stored.value["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = Value::from(hash);
        let mut selector = stored.value["spec"]["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = Value::from(hash);
        let value = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": newest.name, "namespace": newest.namespace,
            "labels": template["metadata"]["labels"], "ownerReferences": Self::reference_to(id, stored)},
            "spec": {"replicas": size, "selector": selector, "template": template}});
        // In a namespace that is going away nothing new comes up; the status says that nothing is there.
        let _ = self.make(newest, &value);
    }

    fn replica_sets_of(&self, stored: &Stored) -> Vec<ResourceId> {
        let kind = GroupKind::new("apps", "ReplicaSet");
        self.owned_by(stored.uid()).into_iter().filter(|id| id.kind == kind).collect()
    }

    pub(super) fn scale_set(&mut self, id: &ResourceId, replicas: i64) {
        if self.objects.get(id).is_some_and(|set| set.number("/spec/replicas") != Some(replicas)) {
            self.control(id, None, |set| set["spec"]["replicas"] = Value::from(replicas));
        }
    }

    fn scale_down_old(&mut self, stored: &Stored, newest: &ResourceId) {
        for set in self.replica_sets_of(stored).into_iter().filter(|set| set != newest) {
            self.scale_set(&set, 0);
        }
    }

    fn count_replica_sets(&self, stored: &Stored, newest: &ResourceId) -> Counts {
        let mut counts = Counts::default();
        for id in self.replica_sets_of(stored) {
            let Some(set) = self.objects.get(&id) else { continue };
            let (replicas, ready) = (set.number("/status/replicas").unwrap_or(0), set.number("/status/readyReplicas").unwrap_or(0));
            counts.replicas += replicas;
            counts.ready += ready;
            if id == *newest {
                counts.updated = replicas;
                counts.updated_ready = ready;
                let conditions = set.value["status"]["conditions"].as_array();
                let failure = conditions.into_iter().flatten().find(|one| one["type"] == "ReplicaFailure" && one["status"] == "True");
                counts.failure = failure.and_then(|one| one["message"].as_str()).map(str::to_owned);
            }
        }
        counts
    }

    fn report_deployment(&mut self, id: &ResourceId, stored: &Stored, newest: &ResourceId, around: &Surroundings<'_>) {
        let counts = self.count_replica_sets(stored, newest);
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        let now = self.stamp();
        let complete = counts.updated == wanted && counts.replicas == wanted && counts.ready == wanted;
        let least = wanted - Bounds::of(&stored.value["spec"], wanted).unavailable;
        let available = if counts.ready >= least {
            ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned())
        } else {
            ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.".to_owned())
        };
        let paused = stored.value["spec"]["paused"] == true;
        let since = self.last_progress(stored, &counts);
        let overdue = around.overdue.contains(id) || !complete && !paused && self.is_overdue(id, stored, since);
        let since = stamp(since);
        let set = &newest.name;
        let progressing = if paused {
            ("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned())
        } else if complete {
            ("Progressing", "True", "NewReplicaSetAvailable", format!("ReplicaSet \"{set}\" has successfully progressed."))
        } else if overdue {
            ("Progressing", "False", "ProgressDeadlineExceeded", format!("ReplicaSet \"{set}\" has timed out progressing."))
        } else {
            ("Progressing", "True", "ReplicaSetUpdated", format!("ReplicaSet \"{set}\" is progressing."))
        };
        let mut list = vec![available, progressing];
        list.extend(counts.failure.clone().map(|message| ("ReplicaFailure", "True", "FailedCreate", message)));
        self.control(id, Some("status"), |deployment| {
            let list: Vec<_> = list.iter().map(|(kind, status, reason, message)| (*kind, *status, *reason, message.as_str())).collect();
            deployment["status"] = json!({"observedGeneration": deployment["metadata"]["generation"], "replicas": counts.replicas,
                "updatedReplicas": counts.updated, "readyReplicas": counts.ready, "availableReplicas": counts.ready,
                "unavailableReplicas": (wanted - counts.ready).max(0), "conditions": conditions(deployment, &now, &list)});
            deployment["status"]["conditions"][1]["lastUpdateTime"] = Value::from(since);
        });
    }

    /// Tells when the rollout last came nearer to its end.
    fn last_progress(&self, stored: &Stored, counts: &Counts) -> Timestamp {
        let status = |field: &str| stored.number(&format!("/status/{field}")).unwrap_or(0);
        let nearer = counts.ready > status("readyReplicas")
            || counts.updated > status("updatedReplicas")
            || counts.replicas < status("replicas")
            || stored.number("/status/observedGeneration") != stored.number("/metadata/generation");
        let last = stored.time("/status/conditions/1/lastUpdateTime").filter(|_| !nearer);
        last.unwrap_or_else(|| self.now())
    }

    /// Tells whether the rollout has taken too long, and otherwise looks again when it may have.
    fn is_overdue(&mut self, id: &ResourceId, stored: &Stored, since: Timestamp) -> bool {
        let seconds = stored.number("/spec/progressDeadlineSeconds").unwrap_or(600);
        let Ok(end) = since.checked_add(SignedDuration::from_secs(seconds)) else { return false };
        let overdue = end <= self.now();
        if !overdue {
            self.look_again(id, end);
        }
        overdue
    }
}

/// Returns the number of a set among those of its Deployment.
pub(super) fn revision_of(set: &Stored) -> u64 {
    let revision = set.value["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
    revision.and_then(|text| text.parse().ok()).unwrap_or(0)
}
