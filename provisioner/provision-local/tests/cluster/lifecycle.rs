//! What becomes of workloads, with a runtime that only plays.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use futures::StreamExt as _;
use provision_apply::{Cluster, ClusterError, WatchEvent};
use provision_local::{Claim, Play};
use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::json;

use super::world::{World, config, delete, is_true, job, list, until, until_is, workload};

fn id(group: &str, kind: &str, name: &str) -> ResourceId {
    ResourceId::namespaced(group, kind, "default", name)
}

async fn pods(world: &World, prefix: &str) -> Vec<Manifest> {
    list(&world.cluster, "", "Pod").await.into_iter().filter(|pod| pod.name().starts_with(prefix)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_come_up_and_go() {
    let world = World::start().await;
    for (kind, pointer, wanted) in
        [("Deployment", "/status/readyReplicas", 3), ("StatefulSet", "/status/readyReplicas", 3), ("DaemonSet", "/status/numberReady", 1)]
    {
        let made = world.apply(workload(kind, &kind.to_lowercase(), 3)).await;
        let ready = |live: Option<&Manifest>| live.and_then(|live| live.value().pointer(pointer)) == Some(&json!(wanted));
        until_is(&world.cluster, &made.id(), "is ready", ready).await;
    }
    let all = pods(&world, "").await;
    let addresses: BTreeSet<&str> = all.iter().filter_map(|pod| pod.text("/status/podIP")).collect();
    assert_eq!(addresses.len(), 7, "each pod has an address of its own");
    assert!(addresses.iter().all(|address| address.starts_with("127.")));
    delete(&world.cluster, &id("apps", "Deployment", "deployment")).await;
    until("the pods are gone", async || pods(&world, "deployment").await.is_empty()).await;
    assert_eq!(world.kubelet.wanted().pods.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_stays_until_nothing_of_it_runs() {
    let world = World::start().await;
    world.apply(workload("StatefulSet", "db", 1)).await;
    let pod = id("", "Pod", "db-0");
    until_is(&world.cluster, &pod, "is ready", |live| is_true(live, "Ready")).await;
    let before = world.cluster.get(&pod).await.unwrap().unwrap();
    world.kubelet.linger(true);
    delete(&world.cluster, &pod).await;
    until("it is told to end", async || world.kubelet.wanted().pods.iter().any(|pod| pod.stopping)).await;
    assert!(world.cluster.get(&pod).await.unwrap().unwrap().is_terminating(), "its place is not free yet");
    world.kubelet.linger(false);
    let again = |live: Option<&Manifest>| live.is_some_and(|live| live.uid() != before.uid()) && is_true(live, "Ready");
    until_is(&world.cluster, &pod, "is there again", again).await;
    let after = world.cluster.get(&pod).await.unwrap().unwrap();
    assert_eq!(after.text("/status/podIP"), before.text("/status/podIP"), "the name keeps its address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_goes_with_its_data_when_no_pod_uses_it() {
    let world = World::start().await;
    let mut db = workload("StatefulSet", "db", 1);
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    db["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": claim}]);
    world.apply(db).await;
    until_is(&world.cluster, &id("", "Pod", "db-0"), "is ready", |live| is_true(live, "Ready")).await;
    let claim = id("", "PersistentVolumeClaim", "data-db-0");
    delete(&world.cluster, &claim).await;
    world.apply(config("later", "1")).await;
    let ending = world.cluster.get(&claim).await.unwrap();
    assert!(ending.as_ref().is_some_and(Manifest::is_terminating), "a pod uses it: {:?}", ending.map(|claim| claim.value().to_string()));
    assert_eq!(world.kubelet.discarded(), []);
    delete(&world.cluster, &id("apps", "StatefulSet", "db")).await;
    until_is(&world.cluster, &claim, "is gone", |live| live.is_none()).await;
    assert_eq!(world.kubelet.discarded(), [Claim { namespace: "default".to_owned(), name: "data-db-0".to_owned(), stays: false }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_namespace_that_ends_stays() {
    let world = World::start().await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    world.apply(space).await;
    world.apply(claim).await;
    let space = ResourceId::cluster("", "Namespace", "shop");
    delete(&world.cluster, &space).await;
    until_is(&world.cluster, &space, "is gone", |live| live.is_none()).await;
    assert_eq!(world.kubelet.discarded(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_keeps_what_is_ready_until_the_new_is() {
    let world = World::start().await;
    let api = world.apply(workload("Deployment", "api", 2)).await.id();
    until_is(&world.cluster, &api, "is ready", |live| is_true(live, "Available")).await;
    let old: BTreeSet<String> = pods(&world, "api").await.iter().map(|pod| pod.name().to_owned()).collect();
    for name in &old {
        world.kubelet.play(name, Play::Good);
    }
    world.kubelet.play("api", Play::Unready);
    let mut changed = workload("Deployment", "api", 2);
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("provision.local/parts:2");
    world.apply(changed).await;
    // A quarter of two, rounded up, may be more.
    until("a new pod runs", async || pods(&world, "api").await.len() == 3).await;
    let ready: BTreeSet<String> =
        pods(&world, "api").await.iter().filter(|pod| is_true(Some(pod), "Ready")).map(|pod| pod.name().to_owned()).collect();
    assert_eq!(ready, old, "none of the old goes before the new is ready");
    world.kubelet.play("api", Play::Good);
    until("the old are gone", async || pods(&world, "api").await.iter().all(|pod| !old.contains(pod.name()))).await;
    until_is(&world.cluster, &api, "is done", |live| {
        live.and_then(|live| live.value().pointer("/status/updatedReplicas")) == Some(&json!(2))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_and_go() {
    let world = World::start().await;
    let good = world.apply(job("good", &json!({"completions": 3, "parallelism": 2}))).await.id();
    until_is(&world.cluster, &good, "is complete", |live| is_true(live, "Complete")).await;
    assert_eq!(pods(&world, "good").await.len(), 3);
    world.kubelet.play("bad", Play::Exit(3));
    let bad = world.apply(job("bad", &json!({"backoffLimit": 0}))).await.id();
    until_is(&world.cluster, &bad, "has failed", |live| is_true(live, "Failed")).await;
    let pod = pods(&world, "bad").await.remove(0);
    assert_eq!(pod.value().pointer("/status/containerStatuses/0/state/terminated/exitCode"), Some(&json!(3)));
    let brief = world.apply(job("brief", &json!({"ttlSecondsAfterFinished": 1}))).await.id();
    until_is(&world.cluster, &brief, "is forgotten", |live| live.is_none()).await;
    world.kubelet.play("slow", Play::Unready);
    let slow = world.apply(job("slow", &json!({"activeDeadlineSeconds": 1}))).await.id();
    until_is(&world.cluster, &slow, "is overdue", |live| is_true(live, "Failed")).await;
    until("nothing of it runs", async || world.kubelet.wanted().pods.iter().all(|pod| !pod.name.starts_with("slow"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_published_and_passes_requests_on() {
    let world = World::start().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "api"}, "ports": [{"name": "web", "port": 8080, "targetPort": "http"}]}});
    let service = world.apply(service).await;
    until("it is published", async || !world.cluster.endpoints().await.unwrap().is_empty()).await;
    let endpoint = world.cluster.endpoints().await.unwrap().remove(0);
    assert_eq!(
        (endpoint.service.as_str(), endpoint.port.as_str(), endpoint.address.to_string().as_str()),
        ("api", "web", "127.0.0.1:8080")
    );
    let early = world.cluster.get_through_service(&service.id(), "web", "/").await;
    assert!(matches!(early, Err(ClusterError::Server { status: 503, .. })), "{early:?}");
    let api = world.apply(workload("Deployment", "api", 1)).await.id();
    until_is(&world.cluster, &api, "is ready", |live| is_true(live, "Available")).await;
    let is_served = |service: &provision_local::WantedService| service.name == "api" && !service.ports[0].targets.is_empty();
    until("the runtime is told", async || world.kubelet.wanted().services.iter().any(is_served)).await;
    let wanted = world.kubelet.wanted();
    let port = wanted.services.iter().find(|service| service.name == "api").unwrap().ports[0].clone();
    assert_eq!(port.targets.len(), 1);
    assert_eq!(*port.targets[0].ip(), wanted.pods[0].address);
    assert_eq!(service.text("/spec/clusterIP"), Some(wanted.services[0].address.to_string().as_str()));
    let listener = TcpListener::bind(port.targets[0]).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let count = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 418 Teapot\r\n\r\nshort and stout").unwrap();
        String::from_utf8_lossy(&request[..count]).lines().next().unwrap_or_default().to_owned()
    });
    let answer = world.cluster.get_through_service(&service.id(), "8080", "/healthz?x=1").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (418, "short and stout"));
    assert_eq!(server.join().unwrap(), "GET /healthz?x=1 HTTP/1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_effect_says_so() {
    let world = World::start().await;
    let policy = world
        .apply(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "default"}, "spec": {"podSelector": {}}}))
        .await;
    let says = |live: Option<&Manifest>| {
        let message = live.and_then(|live| live.text("/status/conditions/0/message"));
        message.is_some_and(|message| message.starts_with("not enforced locally: "))
    };
    until_is(&world.cluster, &policy.id(), "says so", says).await;
    let live = world.cluster.get(&policy.id()).await.unwrap().unwrap();
    assert_eq!(live.generation(), policy.generation());
    world.apply(workload("Deployment", "api", 1)).await;
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api", "namespace": "default"},
        "spec": {"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    let scaler = world.apply(scaler).await.id();
    until("the minimum runs", async || pods(&world, "api").await.len() == 2).await;
    let live = world.cluster.get(&scaler).await.unwrap();
    assert!(!is_true(live.as_ref(), "ScalingActive"));
    let kinds = [
        ("networking.k8s.io", "NetworkPolicy", true),
        ("monitoring.coreos.com", "ServiceMonitor", true),
        ("apps", "Deployment", false),
        ("", "Secret", false),
    ];
    for (group, kind, expected) in kinds {
        assert_eq!(provision_local::not_enforced(&GroupKind::new(group, kind)).is_some(), expected, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_shows_in_status_and_logs() {
    let world = World::start().await;
    world.kubelet.play("api", Play::Exit(7));
    world.apply(workload("Deployment", "api", 1)).await;
    until("a pod is there", async || !pods(&world, "api").await.is_empty()).await;
    let pod = pods(&world, "api").await.remove(0).id();
    let looping = |live: Option<&Manifest>| {
        live.and_then(|live| live.text("/status/containerStatuses/0/state/waiting/reason")) == Some("CrashLoopBackOff")
    };
    until_is(&world.cluster, &pod, "crashes in a loop", looping).await;
    let live = world.cluster.get(&pod).await.unwrap().unwrap();
    assert_eq!(live.value().pointer("/status/containerStatuses/0/lastState/terminated/exitCode"), Some(&json!(7)));
    assert_eq!(live.text("/status/phase"), Some("Running"));
    assert_eq!(world.cluster.logs(&pod, "app", true, 2).await.unwrap().len(), 2);
    let missing = world.cluster.logs(&pod, "other", false, 2).await;
    assert!(matches!(missing, Err(ClusterError::NotFound { .. })), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_its_supervisor() {
    let mut world = World::start().await;
    let kind = world.cluster.api().await.unwrap().find(&GroupKind::new("", "ConfigMap"), None).cloned().unwrap();
    let mut events = world.cluster.watch(&kind, Some("default"));
    let mut told = async |wanted: &str| {
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some(wanted) {
            seen.push(match tokio::time::timeout(super::world::LIMIT, events.next()).await.unwrap().unwrap() {
                Ok(WatchEvent::Changed(object)) => format!("changed {}", object.name()),
                Ok(WatchEvent::Deleted(object)) => format!("deleted {}", object.name()),
                Ok(WatchEvent::Synced) => "synced".to_owned(),
                Ok(WatchEvent::Restarted) => "restarted".to_owned(),
                Err(_) => "failed".to_owned(),
            });
        }
        seen
    };
    told("synced").await;
    world.apply(config("a", "1")).await;
    told("changed a").await;
    world.cluster.end_supervisor().await.unwrap();
    until("it has ended", async || world.supervisor.is_finished()).await;
    let (cluster, supervisor) = super::world::supervised(world.state.path(), world.kubelet.clone()).await;
    (world.cluster, world.supervisor) = (cluster, supervisor);
    let seen = told("synced").await;
    assert!(
        seen.contains(&"failed".to_owned()) && seen.contains(&"restarted".to_owned()) && seen.contains(&"changed a".to_owned()),
        "{seen:?}"
    );
}
