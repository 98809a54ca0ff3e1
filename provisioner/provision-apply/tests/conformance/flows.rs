//! Rules about several objects and about time: deletion, namespaces, CRDs, watches.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::time::Duration;

use futures::StreamExt as _;
use provision_apply::{Cluster, ClusterError, Deletion, WatchEvent, WriteMode};
use provision_model::{Manifest, ResourceId};
use serde_json::{Value, json};

use super::table::name_of;

/// Longest time that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks every flow in a namespace of its own.
pub(crate) async fn check(cluster: &impl Cluster, namespace: &str) {
    apply(cluster, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await.unwrap();
    deletion_waits_for_finalizers(cluster, namespace).await;
    dependents_go_with_their_owner(cluster, namespace).await;
    a_watch_tells_everything_in_order(cluster, namespace).await;
    a_kind_is_served_once_its_crd_is_established(cluster, namespace).await;
    only_one_of_many_makes_an_object(cluster, namespace).await;
    a_namespace_goes_with_what_it_holds(cluster, &format!("{namespace}-gone")).await;
}

async fn apply(cluster: &impl Cluster, value: Value) -> Result<Manifest, ClusterError> {
    cluster.apply(&Manifest::try_from(value).unwrap(), WriteMode::Persist).await
}

fn config(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"a": "1"}})
}

/// Asks again until the answer is yes, at most so long as anything here may take.
async fn ask_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut turns = tokio::time::interval(Duration::from_millis(20));
    let asked = async {
        while !holds().await {
            turns.tick().await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| panic!("{what} within {LIMIT:?}"));
}

/// Asks again until the object is as wanted.
async fn until(cluster: &impl Cluster, id: &ResourceId, wanted: impl Fn(Option<&Manifest>) -> bool) {
    ask_until(&format!("{id} does not become as wanted"), async || wanted(cluster.get(id).await.unwrap().as_ref())).await;
}

async fn deletion_waits_for_finalizers(cluster: &impl Cluster, ns: &str) {
    let mut held = config(ns, "held");
    held["metadata"]["finalizers"] = json!(["conformance.invalid/hold"]);
    let made = apply(cluster, held).await.unwrap();
    let id = made.id();
    let other = "99999999-9999-4999-8999-999999999999";
    assert_eq!(cluster.delete(&id, Some(other)).await.map_err(|error| name_of(&error)), Err("Conflict"));
    assert_eq!(cluster.delete(&id, made.uid()).await.unwrap(), Deletion::Accepted);
    assert!(cluster.get(&id).await.unwrap().is_some_and(|live| live.is_terminating()));
    apply(cluster, config(ns, "held")).await.unwrap();
    until(cluster, &id, |live| live.is_none()).await;
    assert_eq!(cluster.delete(&id, None).await.unwrap(), Deletion::Absent);
}

async fn dependents_go_with_their_owner(cluster: &impl Cluster, ns: &str) {
    let owner = apply(cluster, config(ns, "owner")).await.unwrap();
    let mut child = config(ns, "child");
    child["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()}]);
    let child = apply(cluster, child).await.unwrap();
    cluster.delete(&owner.id(), owner.uid()).await.unwrap();
    until(cluster, &child.id(), |live| live.is_none()).await;
}

async fn a_watch_tells_everything_in_order(cluster: &impl Cluster, ns: &str) {
    apply(cluster, config(ns, "seen-first")).await.unwrap();
    let kind = cluster.api().await.unwrap().find(&ResourceId::namespaced("", "ConfigMap", ns, "x").kind, None).cloned().unwrap();
    let mut events = cluster.watch(&kind, Some(ns));
    let mut next = async || {
        loop {
            match tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap().unwrap() {
                // Other ConfigMaps come and go by themselves.
                WatchEvent::Changed(object) | WatchEvent::Deleted(object) if !object.name().starts_with("seen-") => {}
                event => return event,
            }
        }
    };
    let mut told = Vec::new();
    loop {
        match next().await {
            WatchEvent::Changed(object) => told.push(object.name().to_owned()),
            WatchEvent::Synced => break,
            WatchEvent::Restarted => told.clear(),
            WatchEvent::Deleted(object) => panic!("{object:?} is deleted in the first listing"),
        }
    }
    assert!(told.contains(&"seen-first".to_owned()), "{told:?}");
    let made = apply(cluster, config(ns, "seen-live")).await.unwrap();
    assert_eq!(next().await, WatchEvent::Changed(made.clone()));
    cluster.delete(&made.id(), None).await.unwrap();
    let gone = next().await;
    assert!(
        matches!(&gone, WatchEvent::Deleted(object) if object.uid() == made.uid() && object.resource_version() > made.resource_version()),
        "{gone:?}"
    );
}

async fn a_kind_is_served_once_its_crd_is_established(cluster: &impl Cluster, ns: &str) {
    let gadget =
        json!({"apiVersion": "conformance.invalid/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": ns}, "spec": {"size": 1}});
    assert_eq!(apply(cluster, gadget.clone()).await.map_err(|error| name_of(&error)).err(), Some("NotFound"));
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let crd = apply(
        cluster,
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.conformance.invalid"}, "spec": {"group": "conformance.invalid", "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}]}}),
    )
    .await
    .unwrap();
    let established = |live: Option<&Manifest>| {
        live.and_then(|live| live.value().pointer("/status/conditions")?.as_array().cloned())
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Established" && one["status"] == "True"))
    };
    until(cluster, &crd.id(), established).await;
    let kind = Manifest::try_from(gadget.clone()).unwrap().group_kind();
    ask_until("the kind is not served", async || cluster.api().await.unwrap().find(&kind, Some("v1")).is_some()).await;
    let mut once = gadget.clone();
    once["metadata"]["resourceVersion"] = json!("1");
    let made = apply(cluster, once.clone()).await.unwrap();
    assert_eq!(made.generation(), Some(1));
    assert_eq!(apply(cluster, once).await.map_err(|error| name_of(&error)).err(), Some("Conflict"));
    assert_eq!(apply(cluster, gadget).await.unwrap().resource_version(), made.resource_version());
    cluster.delete(&crd.id(), None).await.unwrap();
    until(cluster, &crd.id(), |live| live.is_none()).await;
    until(cluster, &made.id(), |live| live.is_none()).await;
}

async fn only_one_of_many_makes_an_object(cluster: &impl Cluster, ns: &str) {
    for round in 0..5 {
        let mut wanted = config(ns, &format!("contested-{round}"));
        wanted["metadata"]["resourceVersion"] = json!("1");
        let writers = futures::future::join_all((0..8).map(|writer| {
            wanted["data"]["a"] = json!(writer.to_string());
            apply(cluster, wanted.clone())
        }));
        let answers = writers.await;
        let made: Vec<&Manifest> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(|error| name_of(error) == "Conflict"), "{answers:?}");
        assert_eq!(cluster.get(&made[0].id()).await.unwrap().as_ref(), Some(made[0]));
    }
}

async fn a_namespace_goes_with_what_it_holds(cluster: &impl Cluster, ns: &str) {
    let home = apply(cluster, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})).await.unwrap();
    let mut held = config(ns, "held");
    held["metadata"]["finalizers"] = json!(["conformance.invalid/hold"]);
    let held = apply(cluster, held).await.unwrap();
    apply(cluster, config(ns, "free")).await.unwrap();
    until(cluster, &ResourceId::namespaced("", "ServiceAccount", ns, "default"), |live| live.is_some()).await;
    assert_eq!(cluster.delete(&home.id(), home.uid()).await.unwrap(), Deletion::Accepted);
    until(cluster, &ResourceId::namespaced("", "ConfigMap", ns, "free"), |live| live.is_none()).await;
    until(cluster, &home.id(), |live| live.and_then(|live| live.text("/status/phase")) == Some("Terminating")).await;
    assert_eq!(apply(cluster, config(ns, "late")).await.map_err(|error| name_of(&error)).err(), Some("Forbidden"));
    apply(cluster, config(ns, "held")).await.unwrap();
    until(cluster, &held.id(), |live| live.is_none()).await;
    until(cluster, &home.id(), |live| live.is_none()).await;
}
