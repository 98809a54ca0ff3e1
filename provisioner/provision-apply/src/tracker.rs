//! Watches what a run works on and judges it as the cluster tells.
//!
//! One shared watch per kind and namespace, opened when it is first needed; each event costs the same however much is watched.

mod state;
mod stream;
#[cfg(test)]
mod tests;
mod time;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use provision_model::{ApiResource, ApiSurface, Health, Manifest, ResourceId, Verdict};
use provision_saga::CancelToken;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::state::{Dirty, TrackerState};
use self::stream::{StreamKey, Trouble, definition_of, needed, well_known};
use self::wait::{Next, Wait, blind, lingers, signed};
use crate::health::{assess, explain_logs, is_ready_when_written};
use crate::{Clock, Cluster, ClusterError};

/// Log lines that a failed verdict carries.
const LOG_LINES: u32 = 20;
/// Longest time to fetch them: they explain, they must not hold up.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before discovery is asked again after a failure that may pass.
const DISCOVERY_PAUSE: Duration = Duration::from_millis(500);
/// Longest time for the first listing when only a look is wanted.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a wait may take, and how long ready must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time until ready. An object that becomes ready just in time may still settle.
    pub timeout: Duration,
    /// How long a workload without `minReadySeconds` must stay ready.
    pub settle: Duration,
}

/// Judges objects from shared watches. Dropping it ends them.
pub struct Tracker<C> {
    cluster: Arc<C>,
    shared: Arc<Shared>,
    watches: Mutex<JoinSet<()>>,
    surface: tokio::sync::Mutex<ApiSurface>,
}

struct Shared {
    state: Mutex<TrackerState>,
    waiting: Mutex<HashMap<ResourceId, watch::Sender<()>>>,
    began: (Timestamp, Instant),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, TrackerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ResourceId, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time here, which never goes back.
    fn now(&self) -> Timestamp {
        self.began.0.saturating_add(signed(self.began.1.elapsed())).unwrap_or(self.began.0)
    }

    fn take_in(&self, key: &StreamKey, event: Result<crate::WatchEvent, ClusterError>) {
        let dirty = self.state().observe(key, event, self.now());
        let waiting = self.waiting();
        match dirty {
            Dirty::All => waiting.values().for_each(|sender| sender.send_modify(|()| {})),
            Dirty::Objects(ids) => {
                ids.iter().filter_map(|id| waiting.get(id)).for_each(|sender| sender.send_modify(|()| {}));
            }
        }
    }

    fn listen(&self, id: &ResourceId) -> watch::Receiver<()> {
        self.waiting().entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn forget(&self, id: &ResourceId) {
        let mut waiting = self.waiting();
        if waiting.get(id).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(id);
        }
    }
}

impl<C: Cluster> Tracker<C> {
    /// Starts without any watch; `clock` tells the time now, and from then on it passes as waits do.
    pub fn start(cluster: Arc<C>, clock: &impl Clock) -> Self {
        Self {
            cluster,
            shared: Arc::new(Shared { state: Mutex::default(), waiting: Mutex::default(), began: (clock.now(), Instant::now()) }),
            watches: Mutex::default(),
            surface: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until an object is ready and stays so, or will not become ready.
    ///
    /// `written` is what our write returned: only what the cluster tells from then on counts. The verdict is current, failed with its
    /// cause, not found when someone deleted it meanwhile, or unknown when the kind can't be watched. Called off, the wait returns the
    /// verdict so far.
    pub async fn wait_ready(&self, id: &ResourceId, written: &Manifest, limits: Limits, cancel: &CancelToken) -> Verdict {
        if is_ready_when_written(written) && !written.is_terminating() {
            return assess(written, &[], self.shared.now()).verdict;
        }
        let began = self.shared.now();
        let mut wait = {
            let mut state = self.shared.state();
            state.learn(written, began);
            Wait::new(written, limits, &state, began)
        };
        let mut news = self.shared.listen(id);
        let opened = tokio::select! {
            opened = self.follow(id, Some(written.version()), limits.timeout) => opened,
            () = cancel.cancelled() => Ok(()),
        };
        let verdict = match opened {
            Err(trouble) => blind(&trouble),
            Ok(()) => loop {
                news.mark_unchanged();
                let next = wait.step(&self.shared.state(), self.shared.now());
                let pause = match next {
                    Next::Done(verdict) => break verdict,
                    Next::Look(pause) => pause,
                };
                tokio::select! {
                    _ = news.changed() => {}
                    () = tokio::time::sleep(pause) => {}
                    () = cancel.cancelled() => break wait.stopped(),
                }
            },
        };
        drop(news);
        self.shared.forget(id);
        verdict
    }

    /// Waits until an object is gone: the one with `uid`, or any of that name.
    ///
    /// The verdict is not found when it is gone; failed with its finalizers when it lingers; unknown when the kind can't be watched.
    pub async fn wait_gone(&self, id: &ResourceId, uid: Option<&str>, timeout: Duration, cancel: &CancelToken) -> Verdict {
        let end = Instant::now() + timeout;
        let mut news = self.shared.listen(id);
        let verdict = match self.follow(id, None, timeout).await {
            // A kind that is no longer served has no objects.
            Err(trouble) if trouble.not_served => Verdict::new(Health::NotFound, "its kind is gone"),
            Err(trouble) => blind(&trouble),
            Ok(()) => loop {
                news.mark_unchanged();
                let lingering = match self.presence(id, uid) {
                    Presence::Gone => break Verdict::new(Health::NotFound, "it is gone"),
                    Presence::Blind(trouble) => break blind(&trouble),
                    Presence::There(object) => Some(object),
                    Presence::NotTold => None,
                };
                if Instant::now() >= end {
                    break lingering.map_or_else(|| not_heard(timeout), |object| lingers(&object, timeout));
                }
                tokio::select! {
                    _ = news.changed() => {}
                    () = tokio::time::sleep_until(end) => {}
                    () = cancel.cancelled() => break Verdict::new(Health::Terminating, "it is being deleted"),
                }
            },
        };
        drop(news);
        self.shared.forget(id);
        verdict
    }

    /// Judges an object as it is now, without waiting for it to become anything.
    pub async fn snapshot(&self, id: &ResourceId) -> Verdict {
        let end = Instant::now() + LOOK_TIMEOUT;
        let mut news = self.shared.listen(id);
        let verdict = match self.follow(id, None, LOOK_TIMEOUT).await {
            Err(trouble) if trouble.not_served => Verdict::new(Health::NotFound, "its kind is not served"),
            Err(trouble) => blind(&trouble),
            Ok(()) => loop {
                news.mark_unchanged();
                if let Some(verdict) = self.look(id) {
                    break verdict;
                }
                tokio::select! {
                    _ = news.changed() => {}
                    () = tokio::time::sleep_until(end) => break not_heard(LOOK_TIMEOUT),
                }
            },
        };
        drop(news);
        self.shared.forget(id);
        verdict
    }

    /// Adds the last log lines of the guilty container to a failed verdict; `mask` hides secret values in a line.
    ///
    /// Logs that can't be had are left out.
    pub async fn explain(&self, verdict: Verdict, mask: &(dyn Fn(&str) -> String + Sync)) -> Verdict {
        let pod = {
            let state = self.shared.state();
            let subject = verdict.evidence.subject.as_deref().and_then(pod_id);
            subject.and_then(|id| state.get(&id).cloned())
        };
        let Some(source) = pod.and_then(|pod| explain_logs(&verdict, &[&pod])) else {
            return verdict;
        };
        for previous in [source.previous, !source.previous] {
            let fetched = tokio::time::timeout(LOG_TIMEOUT, self.cluster.logs(&source.pod, &source.container, previous, LOG_LINES)).await;
            if let Ok(Ok(lines)) = fetched
                && !lines.is_empty()
            {
                let first = lines.len().saturating_sub(LOG_LINES as usize);
                let mut verdict = verdict;
                verdict.evidence.logs = lines[first..].iter().map(|line| mask(line)).collect();
                return verdict;
            }
        }
        verdict
    }

    fn look(&self, id: &ResourceId) -> Option<Verdict> {
        let state = self.shared.state();
        let trouble = state.trouble(&StreamKey::of(id)).filter(|trouble| trouble.lasting);
        if let Some(trouble) = trouble {
            return Some(blind(&trouble));
        }
        if !state.is_settled(id) {
            return None;
        }
        let Some(object) = state.get(id) else {
            return Some(Verdict::new(Health::NotFound, "it is not there"));
        };
        let around = state.around(object);
        let around: Vec<&Manifest> = around.iter().map(AsRef::as_ref).collect();
        Some(assess(object, &around, state.time.likely(self.shared.now())).verdict)
    }

    fn presence(&self, id: &ResourceId, uid: Option<&str>) -> Presence {
        let state = self.shared.state();
        let key = StreamKey::of(id);
        if let Some(trouble) = state.trouble(&key).filter(|trouble| trouble.lasting) {
            return if trouble.not_served { Presence::Gone } else { Presence::Blind(trouble) };
        }
        match state.get(id) {
            Some(object) if uid.is_none_or(|uid| object.uid() == Some(uid)) => Presence::There(object.clone()),
            Some(_) => Presence::Gone,
            None if state.streams.get(&key).is_some_and(|stream| stream.synced > 0) => Presence::Gone,
            None => Presence::NotTold,
        }
    }

    /// Opens the watches that a verdict about the object needs; tries again while discovery fails in passing.
    async fn follow(&self, id: &ResourceId, version: Option<&str>, timeout: Duration) -> Result<(), Trouble> {
        let end = Instant::now() + timeout;
        for key in needed(id) {
            if self.shared.state().streams.contains_key(&key) {
                continue;
            }
            let version = version.filter(|_| key.kind == id.kind);
            let resource = loop {
                match self.resource(&key, version).await {
                    Ok(resource) => break resource,
                    Err(error) if error.is_transient() && Instant::now() + DISCOVERY_PAUSE < end => {
                        tokio::time::sleep(DISCOVERY_PAUSE).await;
                    }
                    Err(error) => return Err(Trouble::of(&error)),
                }
            };
            if let Some(definition) = definition_of(&resource)
                && !self.shared.state().knows_definition(&resource.kind)
            {
                // Without the definition the rule falls back to a grace time.
                let definition = self.cluster.get(&definition).await.ok().flatten();
                self.shared.state().define(resource.kind.clone(), definition);
            }
            self.open(key, &resource);
        }
        Ok(())
    }

    fn open(&self, key: StreamKey, resource: &ApiResource) {
        if !self.shared.state().open(&key) {
            return;
        }
        let mut events = self.cluster.watch(resource, key.namespace.as_deref());
        let shared = self.shared.clone();
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.spawn(async move {
            while let Some(event) = events.next().await {
                shared.take_in(&key, event);
            }
        });
    }

    async fn resource(&self, key: &StreamKey, version: Option<&str>) -> Result<ApiResource, ClusterError> {
        if let Some(resource) = well_known(&key.kind) {
            return Ok(resource);
        }
        let mut surface = self.surface.lock().await;
        if let Some(resource) = surface.find(&key.kind, version) {
            return Ok(resource.clone());
        }
        // A kind that a definition of this very run has brought is not in the old answer.
        *surface = self.cluster.api().await?;
        let found = surface.find(&key.kind, version).or_else(|| surface.find(&key.kind, None));
        found.cloned().ok_or_else(|| ClusterError::NotFound { subject: format!("kind {}", key.kind) })
    }
}

enum Presence {
    There(Arc<Manifest>),
    Gone,
    NotTold,
    Blind(Trouble),
}

fn not_heard(timeout: Duration) -> Verdict {
    Verdict::new(Health::Unknown, format!("the cluster told nothing about it within {} s", timeout.as_secs()))
}

/// Reads `Pod/namespace/name`, as verdicts name their subjects.
fn pod_id(subject: &str) -> Option<ResourceId> {
    let (namespace, name) = subject.strip_prefix("Pod/")?.split_once('/')?;
    Some(ResourceId::namespaced("", "Pod", namespace, name))
}
