//! What the cluster holds beside its objects: watchers, requests, scripts.

use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use provision_model::{ApiResource, Manifest};
use provision_objects::{Addresses, Change, Objects, Settings, Uids};

use super::requests::Requests;
use super::settle::Scripts;
use crate::{Clock, ClusterError, WatchEvent};

/// One open watch.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) resource: ApiResource,
    pub(super) namespace: Option<String>,
    pub(super) sender: UnboundedSender<Result<WatchEvent, ClusterError>>,
    /// Whether the last thing told was an error; it then starts anew as soon as it can.
    pub(super) broken: bool,
}

/// Everything that a cluster in memory knows.
pub(super) struct State {
    pub(super) objects: Objects,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) requests: Requests,
    pub(super) scripts: Scripts,
}

impl State {
    /// Copies everything but the open watches.
    pub(super) fn fork(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            clock: self.clock.clone(),
            watchers: Vec::new(),
            requests: self.requests.clone(),
            scripts: self.scripts.clone(),
        }
    }

    /// Starts with what a new cluster has.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let services = Addresses { first: [10, 96, 0, 0].into(), count: 1 << 16 };
        let settings = Settings { uids: Uids::Counted, services, graceful: false };
        let objects = Objects::new(settings, clock.now());
        let mut state = Self { objects, clock, watchers: Vec::new(), requests: Requests::default(), scripts: Scripts::default() };
        state.settle();
        state
    }

    /// Tells the watchers what changed, and counts the pods that Jobs start.
    pub(super) fn announce(&mut self) {
        for change in self.objects.take_changes() {
            let job = change.after.owner_references().find(|owner| owner["kind"] == "Job").and_then(|owner| owner["name"].as_str());
            if let (true, None, Some(job)) = (change.id.kind.kind == "Pod", &change.before, job) {
                *self.scripts.job_runs.entry(job.to_owned()).or_default() += 1;
            }
            self.tell(&change);
        }
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
    }

    fn tell(&self, change: &Change) {
        let event: fn(Manifest) -> WatchEvent = if change.is_gone { WatchEvent::Deleted } else { WatchEvent::Changed };
        for watcher in self.watchers.iter().filter(|watcher| !watcher.broken && watcher.resource.kind == change.id.kind) {
            let in_scope = watcher.namespace.is_none() || watcher.namespace == change.id.namespace;
            if let Some(manifest) = self.objects.render(&change.after, Some(&watcher.resource.version)).filter(|_| in_scope) {
                // A receiver that is gone is dropped by the caller.
                let _ = watcher.sender.unbounded_send(Ok(event(manifest)));
            }
        }
    }
}
