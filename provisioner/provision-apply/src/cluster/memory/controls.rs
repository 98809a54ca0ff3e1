//! What tests and simulations do to the cluster beside the API: other people's edits, scripts, refusals, faults.

use provision_model::{FIELD_MANAGER, GroupKind, Manifest, ResourceId};
use serde_json::Value;

use super::requests::{Fault, Refusal, Request, Verb};
use super::{MemoryCluster, PodScript};
use crate::{Access, ClusterError, WriteMode};

const WRITES: &[Verb] = &[Verb::Apply, Verb::DryRun, Verb::Create, Verb::Update];

impl MemoryCluster {
    /// Reads an object without a request.
    pub fn peek(&self, id: &ResourceId) -> Option<Manifest> {
        let state = self.lock();
        state.objects.get(id).and_then(|stored| state.objects.render(stored, None))
    }

    /// Lists every object that is there, without a request.
    pub fn ids(&self) -> Vec<ResourceId> {
        self.lock().objects.iter().map(|(id, _)| id.clone()).collect()
    }

    /// Creates an object as somebody else.
    ///
    /// # Errors
    /// What the API server says.
    pub fn create_as(&self, manager: &str, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        let mut state = self.lock();
        let id = state.objects.checked_id(manifest)?;
        let made = state.objects.create_as(&id, manifest.value(), manager);
        state.settle();
        Ok(made?)
    }

    /// Applies an object as somebody else, forced.
    ///
    /// # Errors
    /// What the API server says.
    pub fn apply_as(&self, manager: &str, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        let mut state = self.lock();
        let id = state.objects.checked_id(manifest)?;
        let written = state.objects.apply_as(&id, manifest.value(), manager, WriteMode::Persist);
        state.settle();
        Ok(written?)
    }

    /// Changes an object, or a subresource of it (`status`, `scale`), as somebody else.
    ///
    /// # Errors
    /// What the API server says.
    pub fn edit_as(
        &self,
        manager: &str,
        subresource: Option<&str>,
        id: &ResourceId,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Manifest, ClusterError> {
        let mut state = self.lock();
        let Some(mut value) = state.objects.get(id).map(|stored| stored.value().clone()) else {
            return Err(ClusterError::NotFound { subject: id.to_string() });
        };
        edit(&mut value);
        let written = state.objects.update_as(id, &value, manager, subresource);
        state.settle();
        Ok(written?)
    }

    /// Scales a workload through its subresource, as an autoscaler does.
    ///
    /// # Errors
    /// What the API server says.
    pub fn scale(&self, id: &ResourceId, replicas: i64) -> Result<Manifest, ClusterError> {
        self.edit_as("kube-controller-manager", Some("scale"), id, |value| value["spec"]["replicas"] = Value::from(replicas))
    }

    /// Deletes an object as somebody else.
    ///
    /// # Errors
    /// What the API server says.
    pub fn remove(&self, id: &ResourceId) -> Result<(), ClusterError> {
        let mut state = self.lock();
        let removed = state.objects.delete(id, None).map(|_| ());
        state.settle();
        Ok(removed?)
    }

    /// Says what becomes of the pods of a workload, by the name of the object that nobody owns.
    pub fn script_pods(&self, workload: &str, script: PodScript) {
        let mut state = self.lock();
        state.scripts.by_workload.insert(workload.to_owned(), script);
        let pods = state.objects.ids(&GroupKind::new("", "Pod"), None);
        pods.into_iter().for_each(|pod| state.objects.queue(pod));
        state.settle();
    }

    /// Says what becomes of pods with an image that contains `part`; goes before the script of the workload.
    pub fn script_image(&self, part: &str, script: PodScript) {
        let mut state = self.lock();
        state.scripts.by_image.retain(|(known, _)| known != part);
        state.scripts.by_image.push((part.to_owned(), script));
        let pods = state.objects.ids(&GroupKind::new("", "Pod"), None);
        pods.into_iter().for_each(|pod| state.objects.queue(pod));
        state.settle();
    }

    /// Says what a Service answers through its ready endpoints; `200 ok` otherwise.
    pub fn script_answer(&self, service: &ResourceId, status: u16, body: &str) {
        self.lock().scripts.answers.insert(service.clone(), (status, body.to_owned()));
    }

    /// Lets the time of a Deployment or Job run out (`progressDeadlineSeconds`, `activeDeadlineSeconds`).
    pub fn exceed_deadline(&self, id: &ResourceId) {
        let mut state = self.lock();
        state.scripts.overdue.insert(id.clone());
        state.objects.queue(id.clone());
        state.settle();
    }

    /// Tells how many pods all Jobs of that name have started.
    pub fn job_runs(&self, name: &str) -> u64 {
        self.lock().scripts.job_runs.get(name).copied().unwrap_or(0)
    }

    /// Keeps the controllers away from an object and what it owns.
    pub fn hold(&self, id: &ResourceId) {
        self.lock().scripts.held.insert(id.clone());
    }

    /// Lets the controllers go on with a held object.
    pub fn release(&self, id: &ResourceId) {
        let mut state = self.lock();
        state.release(id);
        state.settle();
    }

    /// Lets the controllers move only at [`MemoryCluster::tick`].
    pub fn step_by_hand(&self) {
        self.lock().scripts.stepped = true;
    }

    /// Lets the controllers look once at everything that changed; tells whether there was something.
    pub fn tick(&self) -> bool {
        self.lock().tick()
    }

    /// Lets the controllers work by themselves again.
    pub fn run_freely(&self) {
        let mut state = self.lock();
        state.scripts.stepped = false;
        state.settle();
    }

    /// Makes the controllers wait so many ticks before they first look at a new object of a kind.
    pub fn delay(&self, kind: &GroupKind, ticks: u32) {
        self.lock().scripts.delays.insert(kind.clone(), ticks);
    }

    /// Refuses creations and changes of a kind, as a webhook does.
    pub fn refuse(&self, kind: &GroupKind, message: &str) {
        self.add_refusal(Refusal { verbs: WRITES, kind: kind.clone(), message: message.to_owned(), quota: false });
    }

    /// Refuses deletions of a kind, as a webhook does.
    pub fn refuse_deletion(&self, kind: &GroupKind, message: &str) {
        self.add_refusal(Refusal { verbs: &[Verb::Delete], kind: kind.clone(), message: message.to_owned(), quota: false });
    }

    /// Refuses creations of a kind (pods of controllers too), as a used-up quota does.
    pub fn exhaust_quota(&self, kind: &GroupKind, message: &str) {
        self.add_refusal(Refusal { verbs: WRITES, kind: kind.clone(), message: message.to_owned(), quota: true });
    }

    fn add_refusal(&self, refusal: Refusal) {
        self.lock().requests.refusals.push(refusal);
    }

    /// Takes a right away; without a namespace everywhere.
    pub fn forbid(&self, access: Access) {
        let mut state = self.lock();
        state.requests.forbidden.push(access);
        state.revive_watches();
    }

    /// Takes back all refusals and gives all rights.
    pub fn allow_all(&self) {
        let mut state = self.lock();
        state.requests.refusals.clear();
        state.requests.forbidden.clear();
        for (group, kind) in [("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job")] {
            let ids = state.objects.ids(&GroupKind::new(group, kind), None);
            ids.into_iter().for_each(|id| state.objects.queue(id));
        }
        state.settle();
    }

    /// Lets the credentials expire, or makes them good again.
    pub fn expire_credentials(&self, expired: bool) {
        let mut state = self.lock();
        state.requests.expired = expired;
        state.revive_watches();
    }

    /// Breaks every connection, or lets the API server come back.
    pub fn disconnect(&self, disconnected: bool) {
        let mut state = self.lock();
        state.requests.disconnected = disconnected;
        state.revive_watches();
    }

    /// Sets what goes wrong next; requests count from 1 again.
    pub fn fault(&self, fault: Fault) {
        let mut state = self.lock();
        state.requests.fault = Some(fault);
        state.requests.since_fault = 0;
        state.requests.killed = false;
        self.0.killed.send_replace(false);
    }

    /// Lets every request through again, and counts from 1.
    pub fn clear_fault(&self) {
        let mut state = self.lock();
        state.requests.fault = None;
        state.requests.since_fault = 0;
        state.requests.killed = false;
        self.0.killed.send_replace(false);
    }

    /// Waits until a fault has killed the client; the test then drops the run.
    pub async fn wait_killed(&self) {
        // The sender lives as long as the cluster.
        let _ = self.0.killed.subscribe().wait_for(|killed| *killed).await;
    }

    /// Counts the requests since the start, or since the last fault was set or cleared.
    pub fn request_count(&self) -> u64 {
        self.lock().requests.since_fault
    }

    /// Lists every request since the start or since the log was cleared.
    pub fn request_log(&self) -> Vec<Request> {
        self.lock().requests.log.clone()
    }

    /// Forgets the log of requests and their counts.
    pub fn clear_request_log(&self) {
        let mut state = self.lock();
        state.requests.log.clear();
        state.requests.counts = crate::RequestCounts::default();
    }

    /// Lists the objects whose fields the program owns.
    pub fn ours(&self) -> Vec<ResourceId> {
        let state = self.lock();
        let owned = state.objects.iter().filter(|(_, stored)| stored.is_owned_by(FIELD_MANAGER));
        owned.map(|(id, _)| id.clone()).collect()
    }
}
