//! The tracker on the cluster in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provision_model::{Cause, GroupKind, Health, Manifest, ResourceId, Verdict};
use provision_saga::CancelToken;
use serde_json::{Value, json};

use super::super::{Limits, Tracker};
use super::objects::manifest;
use crate::{Access, Cluster as _, MemoryCluster, PodScript, SystemClock, WriteMode};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), settle: Duration::from_millis(50) };

fn workload(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}]}}}})
}

async fn write(cluster: &MemoryCluster, object: Value) -> Manifest {
    cluster.apply(&manifest(object), WriteMode::Persist).await.unwrap()
}

async fn up(cluster: &MemoryCluster, object: Value) -> Verdict {
    let tracker = Tracker::start(Arc::new(cluster.clone()), &SystemClock);
    let written = write(cluster, object).await;
    let verdict = tracker.wait_ready(&written.id(), &written, LIMITS, &CancelToken::default()).await;
    tracker.explain(verdict, &|line| line.replace("hunter2", "[masked]")).await
}

#[tokio::test]
async fn a_workload_becomes_ready() {
    assert_eq!(up(&MemoryCluster::new(), workload("Deployment", "web")).await.health, Health::Current);
}

#[tokio::test]
async fn causes_are_named_with_evidence_long_before_the_deadline() {
    let log = || vec!["starting with hunter2".to_owned(), "no database".to_owned()];
    let pull = PodScript::ImagePullBackOff { message: "registry.invalid/app:1: not found".to_owned() };
    for (script, cause, exit_code, logs) in [
        (PodScript::CrashLoop { exit_code: 3, log: log() }, Cause::CrashLoop, Some(3), true),
        (PodScript::InitCrashLoop { exit_code: 7, log: log() }, Cause::CrashLoop, Some(7), true),
        (PodScript::OutOfMemory, Cause::Oom, Some(137), false),
        (pull, Cause::ImagePull, None, false),
    ] {
        let cluster = MemoryCluster::new();
        cluster.script_pods("web", script.clone());
        let begun = Instant::now();
        let mut object = workload("Deployment", "web");
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "prepare", "image": "registry.invalid/app:1"}]);
        let verdict = up(&cluster, object).await;
        assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(cause)), "{script:?}: {verdict:?}");
        assert_eq!(verdict.evidence.exit_code, exit_code, "{script:?}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{script:?} took {:?}", begun.elapsed());
        if logs {
            assert_eq!(verdict.evidence.logs, ["starting with [masked]", "no database"], "{script:?}");
        }
    }
}

#[tokio::test]
async fn a_quota_is_named() {
    let cluster = MemoryCluster::new();
    cluster.exhaust_quota(&GroupKind::new("", "Pod"), "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1");
    let verdict = up(&cluster, workload("StatefulSet", "web")).await;
    assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(Cause::Quota)), "{verdict:?}");
}

#[tokio::test]
async fn many_waits_share_few_watches_and_list_nothing() {
    let cluster = MemoryCluster::new();
    let tracker = Arc::new(Tracker::start(Arc::new(cluster.clone()), &SystemClock));
    let mut waits = tokio::task::JoinSet::new();
    for index in 0..30 {
        let written = write(&cluster, workload("Deployment", &format!("web-{index}"))).await;
        let tracker = tracker.clone();
        waits.spawn(async move { tracker.wait_ready(&written.id(), &written, LIMITS, &CancelToken::default()).await.health });
    }
    assert!(waits.join_all().await.iter().all(|health| *health == Health::Current));
    let requests = cluster.requests();
    assert_eq!((requests.watches, requests.lists, requests.gets), (5, 0, 0));
}

#[tokio::test]
async fn what_is_ready_when_written_opens_no_watch() {
    let cluster = MemoryCluster::new();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}});
    assert_eq!(up(&cluster, object).await.health, Health::Current);
    assert_eq!(cluster.requests().watches, 0);
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_never_ends_is_named() {
    let cluster = MemoryCluster::new();
    let tracker = Tracker::start(Arc::new(cluster.clone()), &SystemClock);
    let mut object = workload("Deployment", "web");
    object["metadata"]["finalizers"] = json!(["example.org/hold"]);
    let written = write(&cluster, object).await;
    let (id, cancel) = (written.id(), CancelToken::default());
    cluster.delete(&id, written.uid()).await.unwrap();
    let verdict = tracker.wait_gone(&id, written.uid(), Duration::from_millis(100), &cancel).await;
    assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(Cause::Finalizer)));
    assert!(verdict.message.contains("example.org/hold"), "{}", verdict.message);
}

#[tokio::test]
async fn gone_is_told_when_it_happens() {
    let cluster = MemoryCluster::new();
    let tracker = Arc::new(Tracker::start(Arc::new(cluster.clone()), &SystemClock));
    let written = write(&cluster, workload("Deployment", "web")).await;
    let id = written.id();
    assert_eq!(tracker.snapshot(&id).await.health, Health::Current);
    let waiting = {
        let (tracker, id, uid) = (tracker.clone(), id.clone(), written.uid().map(str::to_owned));
        tokio::spawn(async move { tracker.wait_gone(&id, uid.as_deref(), Duration::from_secs(20), &CancelToken::default()).await })
    };
    cluster.delete(&id, written.uid()).await.unwrap();
    assert_eq!(waiting.await.unwrap().health, Health::NotFound);
    assert_eq!(tracker.snapshot(&id).await.health, Health::NotFound);
}

#[tokio::test]
async fn a_forbidden_kind_harms_nobody_else() {
    let cluster = MemoryCluster::new();
    let access = |resource: &str, group: &str| Access {
        verb: "watch".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: None,
    };
    cluster.forbid(access("statefulsets", "apps"));
    cluster.forbid(access("pods", ""));
    let tracker = Tracker::start(Arc::new(cluster.clone()), &SystemClock);
    let cancel = CancelToken::default();
    let (web, data) = (write(&cluster, workload("Deployment", "web")).await, write(&cluster, workload("StatefulSet", "data")).await);
    let verdict = tracker.wait_ready(&data.id(), &data, LIMITS, &cancel).await;
    assert_eq!((verdict.health, verdict.cause), (Health::Unknown, Some(Cause::Forbidden)));
    assert_eq!(tracker.wait_ready(&web.id(), &web, LIMITS, &cancel).await.health, Health::Current);
}

#[tokio::test]
async fn a_broken_connection_is_sat_out() {
    let cluster = MemoryCluster::new();
    let written = write(&cluster, workload("Deployment", "web")).await;
    cluster.script_pods("web", PodScript::NeverReady { message: "not yet".to_owned() });
    let tracker = Arc::new(Tracker::start(Arc::new(cluster.clone()), &SystemClock));
    let waiting = {
        let (tracker, id) = (tracker.clone(), written.id());
        tokio::spawn(async move { tracker.wait_ready(&id, &written, LIMITS, &CancelToken::default()).await })
    };
    assert_eq!(tracker.snapshot(&ResourceId::namespaced("apps", "Deployment", "default", "web")).await.health, Health::InProgress);
    cluster.disconnect(true);
    cluster.script_pods("web", PodScript::Ready);
    cluster.disconnect(false);
    assert_eq!(waiting.await.unwrap().health, Health::Current);
}

#[tokio::test]
async fn a_wait_that_is_called_off_ends_at_once() {
    let cluster = MemoryCluster::new();
    cluster.script_pods("web", PodScript::NeverReady { message: "not yet".to_owned() });
    let tracker = Tracker::start(Arc::new(cluster.clone()), &SystemClock);
    let written = write(&cluster, workload("Deployment", "web")).await;
    let cancel = CancelToken::default();
    cancel.cancel();
    assert_eq!(tracker.wait_ready(&written.id(), &written, LIMITS, &cancel).await.health, Health::InProgress);
}

#[tokio::test]
async fn dropping_the_tracker_ends_its_watches() {
    let cluster = Arc::new(MemoryCluster::new());
    let tracker = Tracker::start(cluster.clone(), &SystemClock);
    let written = write(&cluster, workload("Deployment", "web")).await;
    tracker.wait_ready(&written.id(), &written, LIMITS, &CancelToken::default()).await;
    let shared = Arc::downgrade(&tracker.shared);
    drop(tracker);
    let end = Instant::now() + Duration::from_secs(5);
    while shared.upgrade().is_some() {
        assert!(Instant::now() < end, "a watch still runs");
        tokio::task::yield_now().await;
    }
}
