//! Deployments: one ReplicaSet for each template, new before old.

use provision_model::{Digest, GroupKind, ResourceId};
use serde_json::{Value, json};

use super::super::state::{State, Stored};
use super::conditions;

/// Replica counts over the ReplicaSets of a Deployment.
#[derive(Default)]
struct Counts {
    replicas: i64,
    ready: i64,
    updated: i64,
    updated_ready: i64,
    failure: Option<String>,
}

impl State {
    /// Moves one Deployment on.
    pub(super) fn run_deployment(&mut self, id: &ResourceId, stored: &Stored) {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let hash = Digest::of_json(&stored.value["spec"]["template"]).short(10).to_owned();
        let newest = ResourceId::namespaced("apps", "ReplicaSet", namespace, &format!("{}-{hash}", id.name));
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        let paused = stored.value["spec"]["paused"] == true;
        let counts = self.count_replica_sets(stored, &newest);
        let old_are_gone = counts.replicas == counts.updated;
        let recreate = stored.text("/spec/strategy/type") == Some("Recreate");
        if !paused {
            if self.objects.contains_key(&newest) {
                self.scale_set(&newest, wanted);
            } else if !recreate || old_are_gone {
                self.make_replica_set(id, stored, &newest, &hash);
            }
            if recreate || counts.updated_ready >= wanted && self.objects.contains_key(&newest) {
                self.scale_down_old(stored, &newest);
            }
        }
        self.report_deployment(id, stored, &newest);
    }

    fn make_replica_set(&mut self, id: &ResourceId, stored: &Stored, newest: &ResourceId, hash: &str) {
        let revision = self.replica_sets_of(stored).len() + 1;
        let mut template = stored.value["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = Value::from(hash);
        let mut selector = stored.value["spec"]["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = Value::from(hash);
        let value = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": newest.name, "namespace": newest.namespace,
            "labels": template["metadata"]["labels"], "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": Self::reference_to(id, stored)},
            "spec": {"replicas": stored.value["spec"]["replicas"], "selector": selector, "template": template}});
        // In a namespace that is going away nothing new comes up; the status says that nothing is there.
        let _ = self.make(newest, &value);
    }

    fn replica_sets_of(&self, stored: &Stored) -> Vec<ResourceId> {
        let kind = GroupKind::new("apps", "ReplicaSet");
        self.owned_by(stored.uid()).into_iter().filter(|id| id.kind == kind).collect()
    }

    fn scale_set(&mut self, id: &ResourceId, replicas: i64) {
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

    fn report_deployment(&mut self, id: &ResourceId, stored: &Stored, newest: &ResourceId) {
        let counts = self.count_replica_sets(stored, newest);
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        let (now, overdue) = (self.stamp(), self.scripts.overdue.contains(id));
        let complete = counts.updated == wanted && counts.replicas == wanted && counts.ready == wanted;
        let least = wanted - if stored.text("/spec/strategy/type") == Some("Recreate") { 0 } else { wanted / 4 };
        let available = if counts.ready >= least {
            ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned())
        } else {
            ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.".to_owned())
        };
        let set = &newest.name;
        let progressing = if stored.value["spec"]["paused"] == true {
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
        });
    }
}
