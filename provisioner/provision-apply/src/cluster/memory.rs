//! A cluster in memory, as strict as an API server, with controllers, scheduler and kubelet that always do the same.

mod controls;
mod kubelet;
mod requests;
mod settle;
mod state;
mod watches;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{FutureExt, StreamExt};
use provision_model::{ApiResource, ApiSurface, ClusterIdentity, FIELD_MANAGER, Manifest, ResourceId};
use serde_json::Value;
use tokio::sync::watch;

pub use self::kubelet::PodScript;
use self::requests::Gate;
pub use self::requests::{Failure, Fault, Request, Verb};
use self::state::State;
use super::{Access, Cluster, ClusterError, Deletion, Listing, LogLines, RequestCounts, ServiceAnswer, Watching, WriteMode};
use crate::{Clock, SystemClock};

/// Objects on one page of a list.
const PAGE: usize = 500;

/// A cluster in memory; clones share it.
///
/// Writes follow the rules of the API server: server-side apply with owners of fields, generations, preconditions, immutable fields,
/// finalizers. After each request the simulated controllers work until nothing is left to do, unless [`MemoryCluster::step_by_hand`] or
/// [`MemoryCluster::hold`] says otherwise. Equal calls give equal objects but for the times, which come from the clock.
#[derive(Clone)]
pub struct MemoryCluster(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Turns true when a fault has killed the client.
    killed: watch::Sender<bool>,
}

impl Default for MemoryCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryCluster({} objects)", self.lock().objects.iter().count())
    }
}

/// What comes of a request.
enum Served<T> {
    Answer(Result<T, ClusterError>),
    Never,
}

impl MemoryCluster {
    /// Starts an empty cluster: system namespaces and one node, times from the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Starts an empty cluster whose times come from `clock`.
    pub fn with_clock(clock: impl Clock) -> Self {
        let state = Mutex::new(State::new(Arc::new(clock)));
        Self(Arc::new(Shared { state, killed: watch::Sender::new(false) }))
    }

    /// Copies the cluster as it is now; the copy goes its own way and nobody watches it yet.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = Mutex::new(self.lock().fork());
        Self(Arc::new(Shared { state, killed: watch::Sender::new(false) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.clock.now();
        state.objects.set_time(now);
        state
    }

    /// Lets one request in, carries it out and lets the controllers work.
    async fn serve<T>(&self, request: Request, effect: impl FnOnce(&mut State) -> Result<T, ClusterError>) -> Result<T, ClusterError> {
        // A run can be dropped before each request, as with a real connection.
        tokio::task::yield_now().await;
        match self.carry_out(&request, effect) {
            Served::Answer(answer) => answer,
            Served::Never => {
                self.0.killed.send_replace(true);
                std::future::pending().await
            }
        }
    }

    fn carry_out<T>(&self, request: &Request, effect: impl FnOnce(&mut State) -> Result<T, ClusterError>) -> Served<T> {
        let mut state = self.lock();
        let gate = state.requests.admit(request);
        let run = || {
            let answer = effect(&mut state);
            state.settle();
            answer
        };
        match gate {
            Gate::Open => Served::Answer(run()),
            Gate::HangBefore => Served::Never,
            Gate::HangAfter => {
                // Nobody is left to hear the answer.
                let _ = run();
                Served::Never
            }
            Gate::Fail(error) => Served::Answer(Err(error)),
            Gate::FailAfter(error) => {
                // The answer is lost on the way.
                let _ = run();
                Served::Answer(Err(error))
            }
        }
    }
}

/// The right that a request on one object needs.
fn access(state: &State, verb: &str, id: &ResourceId) -> Option<Access> {
    let kind = state.objects.kind(&id.kind, None)?;
    Some(Access {
        verb: verb.to_owned(),
        group: id.kind.group.clone(),
        resource: kind.resource.plural.clone(),
        namespace: id.namespace.clone(),
    })
}

fn check_right(state: &State, verb: &str, id: &ResourceId) -> Result<(), ClusterError> {
    let denied = access(state, verb, id).and_then(|wanted| state.requests.denied(&wanted, id));
    denied.map_or(Ok(()), Err)
}

/// Checks a right on a part of an object: `pods/log`.
fn check_part(state: &State, part: &str, id: &ResourceId) -> Result<(), ClusterError> {
    let wanted = Access { verb: "get".to_owned(), group: String::new(), resource: part.to_owned(), namespace: id.namespace.clone() };
    state.requests.denied(&wanted, id).map_or(Ok(()), Err)
}

fn check_write(state: &State, verb: Verb, right: &str, id: &ResourceId) -> Result<(), ClusterError> {
    check_right(state, right, id)?;
    let refused = state.requests.refused(verb, id);
    refused.map_or(Ok(()), Err)
}

impl Cluster for MemoryCluster {
    async fn identity(&self) -> Result<ClusterIdentity, ClusterError> {
        let request = Request { verb: Verb::Discover, target: None };
        self.serve(request, |state| {
            let system = state.objects.get(&ResourceId::cluster("", "Namespace", "kube-system"));
            let uid = system.map(|namespace| namespace.uid().to_owned()).unwrap_or_default();
            Ok(ClusterIdentity { uid, version: "v1.36.0".to_owned() })
        })
        .await
    }

    async fn api(&self) -> Result<ApiSurface, ClusterError> {
        let request = Request { verb: Verb::Discover, target: None };
        self.serve(request, |state| Ok(state.objects.surface())).await
    }

    async fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
        let request = Request::of_kind(Verb::List, &resource.kind, namespace);
        self.serve(request, |state| {
            if let Some(error) = state.closed_to(resource, namespace, "list") {
                return Err(error);
            }
            let items = state.objects.listing(resource, namespace);
            state.requests.counts.lists += items.len().div_ceil(PAGE).max(1) as u64;
            Ok(Listing { items, resource_version: state.objects.revision() })
        })
        .await
    }

    async fn get(&self, id: &ResourceId) -> Result<Option<Manifest>, ClusterError> {
        self.serve(Request::new(Verb::Get, id), |state| {
            check_right(state, "get", id)?;
            let version = state.objects.kind(&id.kind, None).map(|kind| kind.resource.version.clone());
            Ok(state.objects.get(id).and_then(|stored| state.objects.render(stored, version.as_deref())))
        })
        .await
    }

    async fn apply(&self, manifest: &Manifest, mode: WriteMode) -> Result<Manifest, ClusterError> {
        let verb = if mode == WriteMode::DryRun { Verb::DryRun } else { Verb::Apply };
        self.serve(Request::new(verb, &manifest.id()), |state| {
            let id = state.objects.checked_id(manifest)?;
            check_write(state, verb, "patch", &id)?;
            if state.objects.get(&id).is_none() {
                check_right(state, "create", &id)?;
            }
            let written = state.objects.apply_as(&id, manifest.value(), FIELD_MANAGER, mode)?;
            if mode == WriteMode::Persist {
                state.objects.finish_deletion(&id);
            }
            Ok(written)
        })
        .await
    }

    async fn create(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        self.serve(Request::new(Verb::Create, &manifest.id()), |state| {
            let id = state.objects.checked_id(manifest)?;
            check_write(state, Verb::Create, "create", &id)?;
            Ok(state.objects.create_as(&id, manifest.value(), FIELD_MANAGER)?)
        })
        .await
    }

    async fn update(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        self.serve(Request::new(Verb::Update, &manifest.id()), |state| {
            let id = state.objects.checked_id(manifest)?;
            check_write(state, Verb::Update, "update", &id)?;
            Ok(state.objects.update_as(&id, manifest.value(), FIELD_MANAGER, None)?)
        })
        .await
    }

    async fn delete(&self, id: &ResourceId, uid: Option<&str>) -> Result<Deletion, ClusterError> {
        self.serve(Request::new(Verb::Delete, id), |state| {
            check_write(state, Verb::Delete, "delete", id)?;
            Ok(state.objects.delete(id, uid)?)
        })
        .await
    }

    fn watch(&self, resource: &ApiResource, namespace: Option<&str>) -> Watching {
        let request = Request::of_kind(Verb::Watch, &resource.kind, namespace);
        match self.carry_out(&request, |state| Ok(state.open_watch(resource, namespace))) {
            Served::Answer(Ok(events)) => events,
            Served::Answer(Err(error)) => self.lock().broken_watch(resource, namespace, error),
            Served::Never => {
                self.0.killed.send_replace(true);
                Box::pin(futures::stream::pending())
            }
        }
    }

    async fn logs(&self, pod: &ResourceId, container: &str, _previous: bool, lines: u32) -> Result<Vec<String>, ClusterError> {
        self.serve(Request::new(Verb::Logs, pod), |state| {
            check_part(state, "pods/log", pod)?;
            let Some(stored) = state.objects.get(pod) else { return Err(ClusterError::NotFound { subject: pod.to_string() }) };
            let named = |group: &str| {
                stored.value()["spec"][group].as_array().is_some_and(|all| all.iter().any(|one: &Value| one["name"] == container))
            };
            if !named("containers") && !named("initContainers") {
                return Err(ClusterError::NotFound { subject: format!("container {container} of {pod}") });
            }
            let log = match state.script_of(pod, stored) {
                PodScript::CrashLoop { log, .. } if named("containers") => log,
                PodScript::InitCrashLoop { log, .. } if named("initContainers") => log,
                _ => Vec::new(),
            };
            let first = log.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
            Ok(log[first..].to_vec())
        })
        .await
    }

    /// What a script says was written before anybody asked, and nothing comes after.
    fn follow(&self, pod: &ResourceId, container: &str, lines: u32) -> LogLines {
        let (cluster, pod, container) = (self.clone(), pod.clone(), container.to_owned());
        let read = async move {
            match cluster.logs(&pod, &container, false, lines).await {
                Ok(lines) => lines.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        read.into_stream().flat_map(futures::stream::iter).boxed()
    }

    async fn get_through_service(&self, service: &ResourceId, port: &str, _path: &str) -> Result<ServiceAnswer, ClusterError> {
        self.serve(Request::new(Verb::Proxy, service), |state| {
            check_part(state, "services/proxy", service)?;
            let Some(stored) = state.objects.get(service) else { return Err(ClusterError::NotFound { subject: service.to_string() }) };
            let ports = stored.value()["spec"]["ports"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            let unavailable = |message: String| ClusterError::Server { subject: service.to_string(), status: 503, message };
            if !ports.iter().any(|one| one["name"] == port || one["port"].as_u64().is_some_and(|number| number.to_string() == port)) {
                return Err(unavailable(format!("no service port \"{port}\" found for service \"{}\"", service.name)));
            }
            if state.objects.ready_endpoints(service).is_empty() {
                return Err(unavailable(format!("no endpoints available for service \"{}\"", service.name)));
            }
            let (status, body) = state.scripts.answers.get(service).cloned().unwrap_or((200, "ok".to_owned()));
            Ok(ServiceAnswer { status, body })
        })
        .await
    }

    async fn missing_rights(&self, wanted: &[Access]) -> Result<Vec<Access>, ClusterError> {
        let request = Request { verb: Verb::Discover, target: None };
        self.serve(request, |state| Ok(wanted.iter().filter(|access| state.requests.forbids(access)).cloned().collect())).await
    }

    fn requests(&self) -> RequestCounts {
        self.lock().requests.counts
    }
}
