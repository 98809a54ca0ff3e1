//! Whose turn it is: controllers and kubelet look at one queued object at a time until nothing changes, unless a test says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use provision_model::{GroupKind, ResourceId};
use provision_objects::{Stored, Surroundings};
use serde_json::json;

use super::kubelet::PodScript;
use super::requests::{Requests, Verb};
use super::state::State;
use crate::ClusterError;

/// Steps after which the controllers give up on coming to rest.
const MOST_STEPS: usize = 50_000;

/// What tests told the controllers.
#[derive(Debug, Clone, Default)]
pub(super) struct Scripts {
    pub(super) by_workload: BTreeMap<String, PodScript>,
    pub(super) by_image: Vec<(String, PodScript)>,
    pub(super) answers: BTreeMap<ResourceId, (u16, String)>,
    pub(super) delays: BTreeMap<GroupKind, u32>,
    pub(super) overdue: BTreeSet<ResourceId>,
    pub(super) job_runs: BTreeMap<String, u64>,
    /// Whether the controllers move only when told to.
    pub(super) stepped: bool,
    pub(super) held: BTreeSet<ResourceId>,
    parked: BTreeSet<ResourceId>,
    /// Steps that a delayed object still waits, by UID.
    waiting: BTreeMap<String, u32>,
}

impl State {
    /// Lets the controllers work until nothing is left to do, unless they move only when told to.
    pub(super) fn settle(&mut self) {
        if !self.scripts.stepped {
            for _ in 0..MOST_STEPS {
                let Some(id) = self.objects.next_queued() else { break };
                self.reconcile(&id);
            }
        }
        self.announce();
        self.revive_watches();
    }

    /// Lets the controllers look once at every queued object; tells whether there was one.
    pub(super) fn tick(&mut self) -> bool {
        let batch = self.objects.take_queue();
        for id in &batch {
            self.reconcile(id);
        }
        self.announce();
        self.revive_watches();
        !batch.is_empty()
    }

    /// Lets held objects go on.
    pub(super) fn release(&mut self, id: &ResourceId) {
        self.scripts.held.remove(id);
        let parked = std::mem::take(&mut self.scripts.parked);
        parked.into_iter().chain([id.clone()]).for_each(|id| self.objects.queue(id));
    }

    fn reconcile(&mut self, id: &ResourceId) {
        if self.is_held(id) && self.objects.get(id).is_some() {
            self.scripts.parked.insert(id.clone());
            return;
        }
        let Some(stored) = self.objects.tidy(id) else { return };
        if self.is_delayed(id, &stored) {
            self.objects.queue(id.clone());
            return;
        }
        match (id.kind.group.as_str(), id.kind.kind.as_str()) {
            ("", "Pod") => self.run_pod(id, &stored),
            ("", "Service") if stored.text("/spec/type") == Some("LoadBalancer") => {
                let balancer = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}});
                self.objects.control(id, Some("status"), |service| service["status"] = balancer);
            }
            _ => {}
        }
        let requests = &self.requests;
        let refusal = |pod: &ResourceId| refusal_of(requests, pod);
        let around = Surroundings { overdue: &self.scripts.overdue, refusal: &refusal, retry: Duration::ZERO, measures_load: true };
        self.objects.step(id, &stored, &around);
    }

    fn is_held(&self, id: &ResourceId) -> bool {
        let held = &self.scripts.held;
        !held.is_empty() && (held.contains(id) || self.objects.owners_of(id).iter().any(|owner| self.is_held(owner)))
    }

    fn is_delayed(&mut self, id: &ResourceId, stored: &Stored) -> bool {
        let Some(delay) = self.scripts.delays.get(&id.kind).copied() else { return false };
        let left = self.scripts.waiting.entry(stored.uid().to_owned()).or_insert(delay);
        let waits = *left > 0;
        *left = left.saturating_sub(1);
        waits
    }
}

/// Says which quota or webhook refuses a new pod, if one.
fn refusal_of(requests: &Requests, pod: &ResourceId) -> Option<String> {
    requests.refused(Verb::Create, pod).map(|error| match error {
        ClusterError::Quota { message, .. } | ClusterError::Admission { message, .. } => message,
        other => other.to_string(),
    })
}
