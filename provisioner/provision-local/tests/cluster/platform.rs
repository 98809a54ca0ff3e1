//! The whole engine: objects, supervisor and real processes.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use futures::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provision_apply::Cluster as _;
use provision_local::LocalCluster;
use provision_model::{Manifest, ResourceId};
use serde_json::{Value, json};

use super::world::{apply, delete, is_true, launching, list, supervisor, until, until_is, workload};

/// A platform of processes; everything of it is ended at the end of a test.
struct Platform {
    state: tempfile::TempDir,
    cluster: LocalCluster,
}

impl Platform {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::open(launching(state.path(), "processes", 1)).await.unwrap();
        Self { state, cluster }
    }

    /// Deletes all workloads, waits for their pods to be gone and ends the supervisor.
    async fn end(self) {
        for (group, kind) in [("apps", "Deployment"), ("apps", "StatefulSet"), ("batch", "Job"), ("", "Pod")] {
            for object in list(&self.cluster, group, kind).await {
                delete(&self.cluster, &object.id()).await;
            }
        }
        until("all pods are gone", async || list(&self.cluster, "", "Pod").await.is_empty()).await;
        let pid = supervisor(self.state.path()).unwrap();
        self.cluster.end_supervisor().await.unwrap();
        until("the supervisor has ended", async || kill(pid, None).is_err() || is_zombie(pid)).await;
    }
}

fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// A web server that answers 200, unless its folder holds a file of the path's name.
fn server(kind: &str, name: &str, replicas: u64) -> Value {
    let mut object = workload(kind, name, replicas);
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]);
    container["args"] = json!(["serve", "$(IP):8080", "/nowhere"]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1});
    object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(2);
    object
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_runs_and_outlives_its_supervisor() {
    let platform = Platform::start().await;
    let cluster = &platform.cluster;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]}});
    let service = apply(cluster, service).await.unwrap().id();
    let web = apply(cluster, server("Deployment", "web", 2)).await.unwrap().id();
    until_is(cluster, &web, "is ready", |live| live.and_then(|live| live.value().pointer("/status/readyReplicas")) == Some(&json!(2)))
        .await;
    until("it is published", async || !cluster.endpoints().await.unwrap().is_empty()).await;
    let endpoint = cluster.endpoints().await.unwrap().remove(0).address;
    until("it answers", async || get(endpoint.into()).is_ok_and(|line| line == "HTTP/1.1 200 OK")).await;
    assert_eq!(cluster.get_through_service(&service, "http", "/").await.unwrap().status, 200);

    let before: Vec<Manifest> = list(cluster, "", "Pod").await;
    let started = |pod: &Manifest| pod.value().pointer("/status/containerStatuses/0/state/running/startedAt").cloned();
    let pid = supervisor(platform.state.path()).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    until("it is killed", async || is_zombie(pid)).await;
    let pod: SocketAddr = format!("{}:8080", before[0].text("/status/podIP").unwrap()).parse().unwrap();
    assert_eq!(get(pod).unwrap(), "HTTP/1.1 200 OK", "what runs goes on without a supervisor");
    until_is(cluster, &web, "is ready", |live| is_true(live, "Available")).await;
    until("it is served again", async || get(endpoint.into()).is_ok_and(|line| line == "HTTP/1.1 200 OK")).await;
    let after: Vec<Manifest> = list(cluster, "", "Pod").await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.uid(), started(before)), (after.uid(), started(after)));
        assert_eq!(after.value().pointer("/status/containerStatuses/0/restartCount"), Some(&json!(0)));
    }
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_run_and_its_log_is_read() {
    let platform = Platform::start().await;
    let cluster = &platform.cluster;
    let mut job = super::world::job("talk", &json!({"backoffLimit": 0}));
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    container["command"] = json!(["/bin/sh", "-c"]);
    container["args"] = json!(["echo one; echo two; sleep 1; echo $WORD"]);
    container["env"] = json!([{"name": "WORD", "value": "three"}]);
    let job = apply(cluster, job).await.unwrap().id();
    until("its pod runs", async || list(cluster, "", "Pod").await.iter().any(|pod| pod.text("/status/phase") == Some("Running"))).await;
    let pod: ResourceId = list(cluster, "", "Pod").await.remove(0).id();
    let followed: Vec<String> = cluster.follow(&pod, "app", 10).map(|line| line.unwrap()).collect().await;
    assert_eq!(followed, ["one", "two", "three"]);
    until_is(cluster, &job, "is complete", |live| is_true(live, "Complete")).await;
    assert_eq!(cluster.logs(&pod, "app", false, 2).await.unwrap(), ["two", "three"]);
    platform.end().await;
}
