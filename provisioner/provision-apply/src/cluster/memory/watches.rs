//! Lists and watches.

use futures::StreamExt as _;
use futures::channel::mpsc;
use provision_model::ApiResource;

use super::state::{State, Watcher};
use crate::{Access, ClusterError, WatchEvent, Watching};

impl State {
    /// Says why a kind can't be listed or watched, if so.
    pub(super) fn closed_to(&self, resource: &ApiResource, namespace: Option<&str>, verb: &str) -> Option<ClusterError> {
        if let Some(error) = self.requests.closed() {
            return Some(error);
        }
        let Some(kind) = self.objects.kind(&resource.kind, Some(&resource.version)) else {
            return Some(ClusterError::NotFound { subject: format!("kind {} in version {}", resource.kind, resource.version) });
        };
        let (group, resource) = (kind.resource.kind.group.clone(), kind.resource.plural.clone());
        let wanted = Access { verb: verb.to_owned(), group, resource, namespace: namespace.map(str::to_owned) };
        self.requests.denied(&wanted, &kind.resource.kind)
    }

    /// Opens a watch; when that can't be, it tells why and starts as soon as it can.
    pub(super) fn open_watch(&mut self, resource: &ApiResource, namespace: Option<&str>) -> Watching {
        if let Some(error) = self.closed_to(resource, namespace, "watch") {
            return self.broken_watch(resource, namespace, error);
        }
        let (sender, receiver) = mpsc::unbounded();
        let watcher = Watcher { resource: resource.clone(), namespace: namespace.map(str::to_owned), sender, broken: false };
        self.tell_all(&watcher);
        self.watchers.push(watcher);
        receiver.boxed()
    }

    /// Opens a watch that first tells an error.
    pub(super) fn broken_watch(&mut self, resource: &ApiResource, namespace: Option<&str>, error: ClusterError) -> Watching {
        let (sender, receiver) = mpsc::unbounded();
        // The receiver is right here.
        let _ = sender.unbounded_send(Err(error));
        self.watchers.push(Watcher { resource: resource.clone(), namespace: namespace.map(str::to_owned), sender, broken: true });
        receiver.boxed()
    }

    /// Breaks the watches that may not go on, and starts those anew that may again.
    pub(super) fn revive_watches(&mut self) {
        if self.watchers.iter().all(|watcher| !watcher.broken) && !self.requests.may_break_watches() {
            return;
        }
        let mut watchers = std::mem::take(&mut self.watchers);
        for watcher in &mut watchers {
            match self.closed_to(&watcher.resource, watcher.namespace.as_deref(), "watch") {
                Some(error) if !watcher.broken => {
                    watcher.broken = true;
                    // A receiver that is gone is dropped at the next event.
                    let _ = watcher.sender.unbounded_send(Err(error));
                }
                None if watcher.broken => {
                    watcher.broken = false;
                    let _ = watcher.sender.unbounded_send(Ok(WatchEvent::Restarted));
                    self.tell_all(watcher);
                }
                Some(_) | None => {}
            }
        }
        self.watchers = watchers;
    }

    fn tell_all(&self, watcher: &Watcher) {
        let listing = self.objects.listing(&watcher.resource, watcher.namespace.as_deref());
        for event in listing.into_iter().map(WatchEvent::Changed).chain([WatchEvent::Synced]) {
            // A receiver that is gone is dropped at the next event.
            let _ = watcher.sender.unbounded_send(Ok(event));
        }
    }
}
