//! The lock of a release: a Lease with a heartbeat. A holder that gives no sign of life for 10 s loses it; nobody has to clean up.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use provision_model::{Manifest, ResourceId, Scope};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::retry::retry;
use crate::{ApplyError, Clock, Cluster, ClusterError, LockMode, Progress, RunContext, SecretStore};

/// A holder is dead when its Lease did not change for this long, by the watcher's own clock.
pub(crate) const DURATION: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The holder stops to write before others may call it dead.
const SAFE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(500);
const RENEW_LIMIT: Duration = Duration::from_secs(2);

/// What is known of a lease that was acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is ours.
    Sure,
    /// It could not be renewed in time; no write may begin until it is.
    Unsure(String),
    /// Someone else has it.
    Lost(String),
}

/// How an attempt to lock ended.
pub(crate) enum Locked<C> {
    /// The lock is ours.
    Held(Lease<C>),
    /// Someone else has it and lives.
    By { holder: String, since: Option<Timestamp> },
    /// Someone asked to stop while waiting.
    Cancelled,
}

/// A held lock; the heartbeat ends when it is dropped.
pub(crate) struct Lease<C> {
    place: Place<C>,
    hold: watch::Receiver<Hold>,
    renewed: Arc<tokio::sync::Mutex<Manifest>>,
    tasks: JoinSet<()>,
}

struct Place<C> {
    cluster: Arc<C>,
    id: ResourceId,
    holder: String,
    patience: Duration,
}

impl<C> Clone for Place<C> {
    fn clone(&self) -> Self {
        Self { cluster: self.cluster.clone(), id: self.id.clone(), holder: self.holder.clone(), patience: self.patience }
    }
}

/// Takes the lock of a release, waiting or not as `mode` says.
///
/// # Errors
/// [`ApplyError::Cluster`] when the Lease can't be read or written.
pub(crate) async fn acquire<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
    mode: LockMode,
    patience: Duration,
) -> Result<Locked<C>, ApplyError> {
    let id = ResourceId::namespaced("coordination.k8s.io", "Lease", &scope.policy.state_namespace, scope.release.as_str());
    let place = Place { cluster: cx.cluster.clone(), id, holder: cx.holder(), patience };
    let clock = cx.clock.clone();
    let failed = || ApplyError::cluster_failed(format!("lock release `{}`", scope.release));
    let mut seen: Option<Sighting> = None;
    loop {
        if cx.cancel.is_cancelled() {
            return Ok(Locked::Cancelled);
        }
        let asked = Instant::now();
        let found = retry(patience, || place.cluster.get(&place.id)).await.map_err(failed())?;
        let sighting = found.as_ref().and_then(Sighting::of);
        let free = match (&sighting, &mut seen) {
            (None, _) => true,
            (Some(now), Some(before)) if before.same(now) => before.since.elapsed() >= DURATION,
            (Some(now), before) => {
                if before.is_some() && mode == LockMode::Refuse {
                    return Ok(Locked::By { holder: now.holder.clone(), since: now.acquired });
                }
                if before.as_ref().is_none_or(|before| before.holder != now.holder) {
                    cx.tell(Progress::LockWaiting { holder: now.holder.clone(), since: now.acquired });
                }
                *before = Some(now.clone());
                false
            }
        };
        if free {
            match place.take(found.as_ref(), clock.now()).await {
                Ok(held) => return Ok(Locked::Held(place.keep(held, asked, clock))),
                Err(ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. }) => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        let _cancelled = timeout(POLL, cx.cancel.cancelled()).await;
    }
}

/// A Lease that someone holds, and since when it looks like that.
#[derive(Clone)]
struct Sighting {
    holder: String,
    acquired: Option<Timestamp>,
    version: Option<String>,
    since: Instant,
}

impl Sighting {
    fn of(lease: &Manifest) -> Option<Self> {
        let holder = lease.text("/spec/holderIdentity").filter(|holder| !holder.is_empty())?.to_owned();
        Some(Self {
            holder,
            acquired: lease.text("/spec/acquireTime").and_then(|time| time.parse().ok()),
            version: lease.text("/metadata/resourceVersion").map(str::to_owned),
            since: Instant::now(),
        })
    }

    fn same(&self, other: &Self) -> bool {
        self.version == other.version && self.holder == other.holder
    }
}

impl<C: Cluster> Place<C> {
    fn lease(&self, version: Option<&str>, spec: serde_json::Value) -> Result<Manifest, ClusterError> {
        let mut metadata = json!({"name": self.id.name, "namespace": self.id.namespace});
        if let Some(version) = version {
            metadata["resourceVersion"] = version.into();
        }
        Manifest::try_from(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}))
            .map_err(|error| ClusterError::Other { message: error.to_string(), source: None })
    }

    async fn take(&self, found: Option<&Manifest>, now: Timestamp) -> Result<Manifest, ClusterError> {
        let transitions = found.map_or(0, |lease| transitions(lease) + 1);
        let spec = json!({
            "holderIdentity": self.holder, "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": micro_time(now), "renewTime": micro_time(now), "leaseTransitions": transitions,
        });
        let version = found.and_then(|lease| lease.text("/metadata/resourceVersion"));
        let wanted = self.lease(version, spec)?;
        let written = match found {
            Some(_) => retry(self.patience, || self.cluster.update(&wanted)).await,
            None => retry(self.patience, || self.cluster.create(&wanted)).await,
        };
        match written {
            // An answer that was lost: the write may have been ours.
            Err(error @ (ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. })) => {
                let stored = self.cluster.get(&self.id).await?;
                stored.filter(|stored| stored.text("/spec/holderIdentity") == Some(self.holder.as_str())).ok_or(error)
            }
            other => other,
        }
    }

    async fn renew(&self, held: &Manifest, now: Timestamp) -> Result<Manifest, ClusterError> {
        let mut spec = held.value().get("spec").cloned().unwrap_or_default();
        spec["renewTime"] = micro_time(now).into();
        let renewed = self.lease(held.text("/metadata/resourceVersion"), spec)?;
        match self.cluster.update(&renewed).await {
            Err(error @ ClusterError::Conflict { .. }) => {
                let stored = self.cluster.get(&self.id).await?;
                stored.filter(|stored| stored.text("/spec/holderIdentity") == Some(self.holder.as_str())).ok_or(error)
            }
            other => other,
        }
    }

    fn keep<K: Clock>(self, held: Manifest, since: Instant, clock: Arc<K>) -> Lease<C> {
        let (tell, hold) = watch::channel(Hold::Sure);
        let renewed = Arc::new(tokio::sync::Mutex::new(held));
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat(self.clone(), renewed.clone(), since, clock, tell));
        Lease { place: self, hold, renewed, tasks }
    }
}

async fn heartbeat<C: Cluster, K: Clock>(
    place: Place<C>,
    renewed: Arc<tokio::sync::Mutex<Manifest>>,
    since: Instant,
    clock: Arc<K>,
    tell: watch::Sender<Hold>,
) {
    let mut confirmed = since;
    let mut pause = HEARTBEAT;
    loop {
        sleep(pause).await;
        let asked = Instant::now();
        let mut held = renewed.lock().await;
        let result = timeout(RENEW_LIMIT, place.renew(&held, clock.now())).await;
        match result {
            Ok(Ok(lease)) => {
                *held = lease;
                confirmed = asked;
                pause = HEARTBEAT;
                tell.send_replace(Hold::Sure);
            }
            Ok(Err(error @ (ClusterError::Conflict { .. } | ClusterError::NotFound { .. }))) => {
                tell.send_replace(Hold::Lost(error.to_string()));
                return;
            }
            Ok(Err(error)) => {
                pause = POLL;
                overdue(confirmed, &tell, error.to_string());
            }
            Err(_) => {
                pause = POLL;
                overdue(confirmed, &tell, "the API server does not answer".to_owned());
            }
        }
    }
}

fn overdue(confirmed: Instant, tell: &watch::Sender<Hold>, message: String) {
    if confirmed.elapsed() + POLL >= SAFE {
        tell.send_replace(Hold::Unsure(message));
    }
}

impl<C: Cluster> Lease<C> {
    /// Follows what is known of the lock.
    pub(crate) fn hold(&self) -> watch::Receiver<Hold> {
        self.hold.clone()
    }

    /// Gives the lock back, as well as that goes: an error only means that the next run waits until it lapses.
    pub(crate) async fn release(mut self) {
        self.tasks.shutdown().await;
        if matches!(*self.hold.borrow(), Hold::Lost(_)) {
            return;
        }
        let held = self.renewed.lock().await;
        let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": transitions(&held)});
        let version = held.text("/metadata/resourceVersion");
        let released = match self.place.lease(version, spec) {
            Ok(lease) => self.place.cluster.update(&lease).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lock lapses by itself");
        }
    }
}

fn transitions(lease: &Manifest) -> i64 {
    lease.value().pointer("/spec/leaseTransitions").and_then(serde_json::Value::as_i64).unwrap_or(0)
}

/// Writes a time in the form of `MicroTime`: always six digits of a second.
fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits() {
        let time: Timestamp = "2026-01-02T03:04:05.0070001Z".parse().unwrap();
        assert_eq!(micro_time(time), "2026-01-02T03:04:05.007000Z");
    }
}
