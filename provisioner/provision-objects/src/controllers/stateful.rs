//! StatefulSets: numbered pods with claims of their own, one after the other.

use provision_model::{Digest, ResourceId};
use serde_json::{Value, json};

use super::pod::NewPod;
use super::{Surroundings, is_true};
use crate::objects::{Objects, Stored};

impl Objects {
    /// Moves one StatefulSet on.
    pub(crate) fn run_stateful_set(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        let revision = format!("{}-{}", id.name, Digest::of_json(&stored.value["spec"]["template"]).short(10));
        let wanted = stored.number("/spec/replicas").unwrap_or(1);
        self.bring_up(id, stored, (&revision, wanted), around);
        self.take_down_one(stored, &revision, wanted);
        let pods = self.pods_of(stored);
        let ready = pods.iter().filter(|(_, pod)| is_true(&pod.value, "Ready")).count();
        let updated = pods.iter().filter(|(_, pod)| is_of(pod, &revision)).count();
        self.control(id, Some("status"), |set| {
            let complete = i64::try_from(updated) == Ok(wanted);
            let current = set["status"]["currentRevision"].as_str().filter(|_| !complete).unwrap_or(&revision).to_owned();
            set["status"] = json!({"observedGeneration": set["metadata"]["generation"], "replicas": pods.len(), "readyReplicas": ready,
                "availableReplicas": ready, "updatedReplicas": updated, "currentReplicas": if complete { updated } else { pods.len() - updated },
                "currentRevision": current, "updateRevision": revision, "collisionCount": 0});
        });
    }

    fn bring_up(&mut self, id: &ResourceId, stored: &Stored, (revision, wanted): (&str, i64), around: &Surroundings<'_>) {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let ordered = stored.text("/spec/podManagementPolicy") != Some("Parallel");
        for ordinal in 0..wanted {
            let name = format!("{}-{ordinal}", id.name);
            let pod = ResourceId::namespaced("", "Pod", namespace, &name);
            if let Some(live) = self.objects.get(&pod) {
                if ordered && (live.is_terminating() || !is_true(&live.value, "Ready")) {
                    return;
                }
                continue;
            }
            let volumes = self.claims(namespace, &name, &stored.value["spec"]["volumeClaimTemplates"]);
            let labels = [
                ("controller-revision-hash", revision.to_owned()),
                ("statefulset.kubernetes.io/pod-name", name.clone()),
                ("apps.kubernetes.io/pod-index", ordinal.to_string()),
            ];
            if let Err(message) = self.spawn(id, stored, NewPod { name, labels: &labels, volumes: Some(volumes) }, around) {
                self.event(id, ("Warning", "FailedCreate", &message));
                return;
            }
            if ordered {
                return;
            }
        }
    }

    /// Makes the claims of one pod and returns its volumes.
    fn claims(&mut self, namespace: &str, pod: &str, templates: &Value) -> Vec<Value> {
        let mut volumes = Vec::new();
        for template in templates.as_array().into_iter().flatten() {
            let volume = template["metadata"]["name"].as_str().unwrap_or_default();
            let name = format!("{volume}-{pod}");
            let claim = ResourceId::namespaced("", "PersistentVolumeClaim", namespace, &name);
            let value = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace,
                "labels": template["metadata"]["labels"]}, "spec": template["spec"]});
            // A claim that can't be made shows as a pod that can't be scheduled.
            let _ = self.make(&claim, &value);
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": name}}));
        }
        volumes
    }

    /// Deletes the last pod that is too many, or else the last old one when all the others are ready.
    fn take_down_one(&mut self, stored: &Stored, revision: &str, wanted: i64) {
        let ordinal = |pod: &ResourceId| pod.name.rsplit('-').next().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let mut pods = self.pods_of(stored);
        pods.sort_by_key(|(pod, _)| std::cmp::Reverse(ordinal(pod)));
        if let Some((pod, _)) = pods.iter().find(|(pod, _)| ordinal(pod) >= wanted) {
            // A pod is never held by a precondition.
            let _ = self.delete(pod, None);
            return;
        }
        let by_hand = stored.text("/spec/updateStrategy/type") == Some("OnDelete");
        let partition = stored.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        for (pod, live) in pods.iter().filter(|(pod, _)| !by_hand && ordinal(pod) >= partition) {
            if !is_of(live, revision) {
                let _ = self.delete(pod, None);
                return;
            }
            if !is_true(&live.value, "Ready") {
                return;
            }
        }
    }
}

fn is_of(pod: &Stored, revision: &str) -> bool {
    pod.text("/metadata/labels/controller-revision-hash") == Some(revision)
}
