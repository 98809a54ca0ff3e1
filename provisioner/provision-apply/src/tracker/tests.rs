mod objects;
mod on_a_cluster;
mod waiting;

use jiff::{SignedDuration, Timestamp};
use provision_model::ResourceId;
use serde_json::json;

use self::objects::{at, deployment, event, key_of, manifest, owned, pod_of};
use super::state::{Dirty, TrackerState};
use crate::{ClusterError, WatchEvent};

fn tell(state: &mut TrackerState, object: serde_json::Value) -> Vec<ResourceId> {
    let object = manifest(object);
    match state.observe(&key_of(&object), Ok(WatchEvent::Changed(object)), at(0)) {
        Dirty::Objects(ids) => ids,
        Dirty::All => panic!("one object does not concern everyone"),
    }
}

fn names(ids: &[ResourceId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

#[test]
fn an_event_about_a_pod_concerns_its_owners_and_nobody_else() {
    let mut state = TrackerState::default();
    for name in ["a", "b"] {
        tell(&mut state, deployment(name));
        tell(&mut state, owned("apps/v1", "ReplicaSet", &format!("{name}-1"), ("Deployment", name)));
        tell(&mut state, pod_of(&format!("{name}-1")));
    }
    let concerned = tell(&mut state, event("Pod", "a-1-x", "BackOff"));
    assert_eq!(names(&concerned), ["Event/n/Pod.a-1-x.BackOff", "Pod/n/a-1-x", "Deployment/n/a", "ReplicaSet/n/a-1"]);
}

#[test]
fn owners_may_be_told_after_what_they_own() {
    let mut state = TrackerState::default();
    assert_eq!(names(&tell(&mut state, pod_of("a-1"))), ["Pod/n/a-1-x"]);
    tell(&mut state, deployment("a"));
    let concerned = tell(&mut state, owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a")));
    assert_eq!(names(&concerned), ["Deployment/n/a", "ReplicaSet/n/a-1"]);
    let root = state.get(&ResourceId::namespaced("apps", "Deployment", "n", "a")).unwrap().clone();
    let around: Vec<_> = state.around(&root).iter().map(|object| object.id().to_string()).collect();
    assert!(around.contains(&"Pod/n/a-1-x".to_owned()), "{around:?}");
}

#[test]
fn a_claim_concerns_the_pods_that_use_it() {
    let mut state = TrackerState::default();
    let mut pod = pod_of("a-1");
    pod["spec"]["volumes"] = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    tell(&mut state, pod);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "n", "uid": "c", "resourceVersion": "1"}});
    tell(&mut state, claim);
    let concerned = tell(&mut state, event("PersistentVolumeClaim", "data", "ProvisioningFailed"));
    assert!(!names(&concerned).contains(&"Pod/n/a-1-x".to_owned()), "the event names another UID");
    let mut failure = event("PersistentVolumeClaim", "data", "ProvisioningFailed");
    failure["involvedObject"]["uid"] = json!("c");
    failure["metadata"]["resourceVersion"] = json!("9");
    assert!(names(&tell(&mut state, failure)).contains(&"Pod/n/a-1-x".to_owned()));
}

#[test]
fn what_a_new_listing_does_not_tell_is_gone() {
    let mut state = TrackerState::default();
    let (a, b) = (manifest(deployment("a")), manifest(deployment("b")));
    let key = key_of(&a);
    state.open(&key);
    for event in [
        WatchEvent::Changed(a.clone()),
        WatchEvent::Changed(b.clone()),
        WatchEvent::Synced,
        WatchEvent::Restarted,
        WatchEvent::Changed(b.clone()),
    ] {
        state.observe(&key, Ok(event), at(0));
    }
    assert!(state.get(&a.id()).is_some(), "nothing is gone before the listing is complete");
    state.observe(&key, Ok(WatchEvent::Synced), at(0));
    assert!(state.get(&a.id()).is_none());
    assert!(state.get(&b.id()).is_some());
}

#[test]
fn a_listing_that_lags_behind_takes_nothing_back() {
    let mut state = TrackerState::default();
    let newer = |version: &str, replicas: u32| {
        let mut object = deployment("a");
        object["metadata"]["resourceVersion"] = json!(version);
        object["status"] = json!({"replicas": replicas});
        object
    };
    tell(&mut state, newer("20", 2));
    tell(&mut state, newer("19", 1));
    let id = manifest(deployment("a")).id();
    assert_eq!(state.get(&id).unwrap().value()["status"]["replicas"], 2);
}

#[test]
fn what_is_deleted_does_not_come_back_with_an_old_listing() {
    let mut state = TrackerState::default();
    let object = manifest(deployment("a"));
    tell(&mut state, deployment("a"));
    state.observe(&key_of(&object), Ok(WatchEvent::Deleted(object.clone())), at(0));
    tell(&mut state, deployment("a"));
    assert!(state.get(&object.id()).is_none());
}

#[test]
fn a_secret_is_kept_without_its_values() {
    let mut state = TrackerState::default();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "uid": "s"}, "data": {"password": "aHVudGVyMg=="}});
    let id = manifest(secret.clone()).id();
    tell(&mut state, secret);
    assert!(!state.get(&id).unwrap().value().to_string().contains("aHVudGVyMg"));
}

#[test]
fn trouble_of_a_watch_concerns_everyone_and_ends_with_the_next_news() {
    let mut state = TrackerState::default();
    let object = manifest(deployment("a"));
    let key = key_of(&object);
    state.open(&key);
    let error = ClusterError::Throttled { message: "later".to_owned() };
    assert_eq!(state.observe(&key, Err(error), at(0)), Dirty::All);
    assert!(state.trouble(&key).is_some_and(|trouble| !trouble.lasting));
    state.observe(&key, Ok(WatchEvent::Restarted), at(0));
    assert_eq!(state.trouble(&key), None);
}

#[test]
fn clocks_that_differ_are_seen_through() {
    for skew in [-3600, 0, 3600] {
        let mut state = TrackerState::default();
        let cluster_now: Timestamp = at(0) + SignedDuration::from_secs(skew);
        let mut object = deployment("a");
        object["metadata"]["managedFields"] = json!([{"manager": "m", "time": cluster_now.to_string()}]);
        tell(&mut state, object);
        assert_eq!(state.time.cautious(at(5)), cluster_now + SignedDuration::from_secs(5), "skew {skew}");
    }
}
