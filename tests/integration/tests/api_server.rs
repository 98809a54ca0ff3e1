//! The Kubernetes client against a real API server.

use std::time::Instant;

use futures::{StreamExt, stream};
use integration::{World, manifest, until};
use provision_apply::{Access, Cluster, ClusterError, Deletion, WatchEvent, WriteMode};
use provision_kube::{Connection, KubeCluster, Patience};
use provision_model::{GroupKind, ResourceId};
use serde_json::json;

fn config_map(namespace: &str, name: &str, value: &str) -> provision_model::Manifest {
    manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"key": value}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_read_listed_and_deleted() {
    let world = World::start().await;
    let cluster = &world.cluster;
    let namespace = world.namespace("objects").await;
    let identity = cluster.identity().await.unwrap();
    assert!(identity.version.starts_with('v') && !identity.uid.is_empty(), "{identity:?}");

    let id = ResourceId::namespaced("", "ConfigMap", &namespace, "one");
    let dry = cluster.apply(&config_map(&namespace, "one", "a"), WriteMode::DryRun).await.unwrap();
    assert_eq!(dry.text("/data/key"), Some("a"));
    assert!(cluster.get(&id).await.unwrap().is_none(), "a dry-run writes nothing");

    let made = cluster.apply(&config_map(&namespace, "one", "a"), WriteMode::Persist).await.unwrap();
    let changed = cluster.apply(&config_map(&namespace, "one", "b"), WriteMode::Persist).await.unwrap();
    assert!(changed.resource_version() > made.resource_version());
    assert_eq!(cluster.get(&id).await.unwrap().unwrap().text("/data/key"), Some("b"));

    let wrong = cluster.delete(&id, Some("00000000-0000-0000-0000-000000000000")).await;
    assert!(matches!(wrong, Err(ClusterError::Conflict { .. })), "{wrong:?}");
    assert_eq!(cluster.delete(&id, made.uid()).await.unwrap(), Deletion::Accepted);
    assert_eq!(cluster.delete(&id, None).await.unwrap(), Deletion::Absent);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_objects_are_listed_in_pages_and_watched() {
    let world = World::start().await;
    let cluster = &world.cluster;
    let namespace = world.namespace("pages").await;
    let api = cluster.api().await.unwrap();
    let kind = api.find(&GroupKind::new("", "ConfigMap"), None).unwrap().clone();
    let mut watch = cluster.watch(&kind, Some(&namespace));
    let started = Instant::now();
    let applied = stream::iter(0..1100)
        .map(|n| {
            let object = config_map(&namespace, &format!("c-{n}"), "x");
            async move { cluster.apply(&object, WriteMode::Persist).await }
        })
        .buffer_unordered(32)
        .filter(|result| std::future::ready(result.is_ok()))
        .count()
        .await;
    assert_eq!(applied, 1100, "after {:?}", started.elapsed());
    let before = cluster.requests().lists;
    // The namespace's own ConfigMap with the cluster's root certificate is there too.
    assert_eq!(cluster.list(&kind, Some(&namespace)).await.unwrap().items.len(), 1101);
    assert_eq!(cluster.requests().lists - before, 3, "pages of 500");
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 1101 {
        if let WatchEvent::Changed(object) = watch.next().await.unwrap().unwrap() {
            seen.insert(object.name().to_owned());
        }
    }
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart() {
    let world = World::start().await;
    let cluster = &world.cluster;
    let namespace = world.namespace("refusals").await;
    let unknown_field =
        manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}, "dta": {}}));
    let missing_namespace = config_map("no-such-namespace", "x", "y");
    let missing_kind = manifest(json!({"apiVersion": "none.example/v1", "kind": "Nothing", "metadata": {"name": "x"}}));
    let port = manifest(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": namespace},
        "spec": {"ports": [{"port": 70000}]}}));
    for (object, expected) in [(unknown_field, "Invalid"), (missing_namespace, "NotFound"), (missing_kind, "NotFound"), (port, "Invalid")] {
        let error = cluster.apply(&object, WriteMode::Persist).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{object:?}: {error:?}");
    }
    let quota = manifest(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace},
        "spec": {"hard": {"count/secrets": "0"}}}));
    cluster.apply(&quota, WriteMode::Persist).await.unwrap();
    let quota_id = quota.id();
    until("the quota's status", || async { cluster.get(&quota_id).await.ok()??.text("/status/hard/count~1secrets").map(str::to_owned) })
        .await;
    let secret = manifest(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "data": {"k": "Y2FuYXJ5"}}),
    );
    let error = cluster.apply(&secret, WriteMode::Persist).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Quota { .. }), "{error:?}");
    let bad = manifest(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "data": {"k": "canary-value!"}}),
    );
    let error = cluster.apply(&bad, WriteMode::Persist).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_the_user() {
    let world = World::start().await;
    let access = |verb: &str, group: &str, resource: &str, namespace: Option<&str>| Access {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    let wanted = [access("patch", "apps", "deployments", Some("default")), access("create", "", "namespaces", None)];
    assert_eq!(world.cluster.missing_rights(&wanted).await.unwrap(), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_listens_is_unreachable_at_once() {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    let connection = Connection { kubeconfig: Some(file.path().to_path_buf()), context: None };
    let cluster = KubeCluster::connect(&connection, Patience::default()).await.unwrap();
    let started = Instant::now();
    let error = cluster.identity().await.unwrap_err();
    assert!(matches!(&error, ClusterError::Unreachable { server, .. } if server.contains("127.0.0.1:1")), "{error:?}");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
