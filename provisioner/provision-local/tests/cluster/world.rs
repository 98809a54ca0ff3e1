//! A state folder with a supervisor whose runtime only plays.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use provision_apply::{Cluster, ClusterError, WriteMode};
use provision_local::{Launch, LocalCluster, LocalSettings, MemoryKubelet, SupervisorError, SupervisorSettings, supervise};
use provision_model::{Manifest, ResourceId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longest time that anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A supervisor in this process and a client of it.
pub(crate) struct World {
    pub(crate) state: TempDir,
    pub(crate) cluster: LocalCluster,
    pub(crate) kubelet: MemoryKubelet,
    pub(crate) supervisor: JoinHandle<Result<(), SupervisorError>>,
}

/// How a client is set up that starts no supervisor.
pub(crate) fn settings(state: &Path) -> LocalSettings {
    let launch = Launch { program: "/bin/false".into(), arguments: Vec::new() };
    LocalSettings { state: state.to_owned(), build: 1, launch }
}

/// How a client is set up that starts a supervisor process of `kind` (`memory`, `processes`).
pub(crate) fn launching(state: &Path, kind: &str, build: u64) -> LocalSettings {
    let arguments = vec![kind.into(), state.into(), build.to_string().into()];
    let launch = Launch { program: env!("CARGO_BIN_EXE_local-supervisor").into(), arguments };
    LocalSettings { state: state.to_owned(), build, launch }
}

/// Starts a supervisor in this process, and waits until it answers.
pub(crate) async fn supervised(state: &Path, kubelet: MemoryKubelet) -> (LocalCluster, JoinHandle<Result<(), SupervisorError>>) {
    supervised_for(state, kubelet, Duration::from_secs(600)).await
}

/// Starts a supervisor in this process that ends when it was idle for so long, and waits until it answers.
pub(crate) async fn supervised_for(
    state: &Path,
    kubelet: MemoryKubelet,
    idle: Duration,
) -> (LocalCluster, JoinHandle<Result<(), SupervisorError>>) {
    let settings_of = SupervisorSettings { state: state.to_owned(), build: 1, watcher: None, idle };
    let supervisor = tokio::spawn(supervise(settings_of, || Ok(kubelet)));
    let socket = state.join("control/socket");
    until("the supervisor answers", async || tokio::net::UnixStream::connect(&socket).await.is_ok() || supervisor.is_finished()).await;
    (LocalCluster::open(settings(state)).await.unwrap(), supervisor)
}

impl World {
    /// Starts with an empty state.
    pub(crate) async fn start() -> Self {
        let (state, kubelet) = (tempfile::tempdir().unwrap(), MemoryKubelet::default());
        let (cluster, supervisor) = supervised(state.path(), kubelet.clone()).await;
        Self { state, cluster, kubelet, supervisor }
    }

    pub(crate) async fn apply(&self, value: Value) -> Manifest {
        apply(&self.cluster, value).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks again until an object is as wanted.
pub(crate) async fn until_is(cluster: &impl Cluster, id: &ResourceId, what: &str, holds: impl Fn(Option<&Manifest>) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let answer = cluster.get(id).await;
        if let Ok(live) = &answer
            && holds(live.as_ref())
        {
            return;
        }
        // A supervisor that was killed breaks off: whoever asks it asks again, as a run does.
        let goes_on = answer.as_ref().map_or_else(ClusterError::is_transient, |_| true);
        assert!(goes_on && Instant::now() < end, "not within {LIMIT:?}: {id} {what}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Applies an object.
pub(crate) async fn apply(cluster: &impl Cluster, value: Value) -> Result<Manifest, ClusterError> {
    cluster.apply(&Manifest::try_from(value).unwrap(), WriteMode::Persist).await
}

/// Deletes an object.
pub(crate) async fn delete(cluster: &impl Cluster, id: &ResourceId) {
    cluster.delete(id, None).await.unwrap();
}

/// A ConfigMap.
pub(crate) fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"a": value}})
}

/// A workload of one container.
pub(crate) fn workload(kind: &str, name: &str, replicas: u64) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "containers": [{"name": "app", "image": "provision.local/parts:1", "ports": [{"name": "http", "containerPort": 8080}]}]}}}});
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(replicas);
    }
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
    }
    object
}

/// A Job.
pub(crate) fn job(name: &str, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "provision.local/parts:1"}]}}}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

/// A CronJob whose time comes once a year.
pub(crate) fn cron_job(name: &str) -> Value {
    let job = job(name, &json!({}));
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "schedule": "0 0 1 1 *", "jobTemplate": {"spec": job["spec"]}}})
}

/// Lists all objects of a kind.
pub(crate) async fn list(cluster: &impl Cluster, group: &str, kind: &str) -> Vec<Manifest> {
    let surface = cluster.api().await.unwrap();
    let resource = surface.find(&provision_model::GroupKind::new(group, kind), None).unwrap();
    cluster.list(resource, None).await.unwrap().items
}

/// Tells whether a condition is True.
pub(crate) fn is_true(object: Option<&Manifest>, condition: &str) -> bool {
    let all = object.and_then(|object| object.value()["status"]["conditions"].as_array());
    all.is_some_and(|all| all.iter().any(|one| one["type"] == condition && one["status"] == "True"))
}

/// Finds the process that listens at the socket: the kernel knows the other side of a connection.
pub(crate) fn supervisor(state: &Path) -> Option<Pid> {
    let stream = std::os::unix::net::UnixStream::connect(state.join("control/socket")).ok()?;
    stream.set_nonblocking(true).ok()?;
    let peer = tokio::net::UnixStream::from_std(stream).ok()?.peer_cred().ok()?;
    peer.pid().map(Pid::from_raw)
}
