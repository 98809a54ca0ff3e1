//! What a host may rely on: changes as values, records, time, and pods that end when the host says so.

#![cfg(test)]

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use provision_model::{Manifest, ResourceId};
use provision_objects::{Addresses, Loaded, Objects, PodState, Settings, Surroundings, Uids, is_true, record};
use provision_objects::{ObjectError, WriteMode};
use serde_json::{Value, json};

const MANAGER: &str = "provision";

fn settings() -> Settings {
    let services = Addresses { first: [10, 96, 0, 0].into(), count: 4 };
    Settings { uids: Uids::Seeded("seed".to_owned()), services, graceful: true }
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn objects() -> Objects {
    let mut objects = Objects::new(settings(), start());
    settle(&mut objects);
    objects
}

fn apply(objects: &mut Objects, value: Value) -> Result<Manifest, ObjectError> {
    let manifest = Manifest::try_from(value).unwrap();
    let id = objects.checked_id(&manifest)?;
    objects.apply_as(&id, manifest.value(), MANAGER, WriteMode::Persist)
}

/// Controllers and a kubelet that only binds pods, until nothing is left to do.
fn settle(objects: &mut Objects) {
    objects.ring();
    while let Some(id) = objects.next_queued() {
        let Some(stored) = objects.tidy(&id) else { continue };
        if id.kind.kind == "Pod" && stored.text("/spec/nodeName").is_none() {
            objects.report_pod(&id, &PodState { address: "127.0.0.9".to_owned(), ..PodState::of("Pending", false, Vec::new()) });
        }
        let around = Surroundings { overdue: &BTreeSet::new(), refusal: &|_| None, retry: Duration::from_secs(10), measures_load: false };
        objects.step(&id, &stored, &around);
    }
}

fn after(objects: &mut Objects, seconds: i64) {
    objects.set_time(objects.now() + SignedDuration::from_secs(seconds));
    settle(objects);
}

fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

fn workload(kind: &str, replicas: u64) -> Value {
    let containers = json!([{"name": "a", "image": "b"}]);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "w", "namespace": "default"}, "spec": {"replicas": replicas,
        "progressDeadlineSeconds": 60, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}})
}

fn job(spec: &Value) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]});
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}, "spec": {"template": {"spec": pod}}});
    spec.as_object().unwrap().iter().for_each(|(field, value)| job["spec"][field] = value.clone());
    job
}

fn id(group: &str, kind: &str, name: &str) -> ResourceId {
    ResourceId::namespaced(group, kind, "default", name)
}

fn pods(objects: &Objects) -> Vec<ResourceId> {
    objects.ids(&provision_model::GroupKind::new("", "Pod"), None)
}

/// Every object as a client sees it.
fn all(objects: &Objects) -> Vec<Manifest> {
    objects.iter().filter_map(|(_, stored)| objects.render(stored, None)).collect()
}

fn kept(objects: &Objects) -> Loaded {
    let records = objects.iter().map(|(_, stored)| record(stored)).collect();
    Loaded { records, revision: objects.revision(), made: objects.made() }
}

#[test]
fn what_is_taken_back_was_never_there() {
    let mut objects = objects();
    apply(&mut objects, config("kept", &json!({"a": "1"}))).unwrap();
    apply(&mut objects, workload("Deployment", 2)).unwrap();
    settle(&mut objects);
    objects.take_changes();
    let before = all(&objects);
    apply(&mut objects, config("kept", &json!({"b": "2"}))).unwrap();
    apply(&mut objects, config("new", &json!({}))).unwrap();
    apply(&mut objects, workload("Deployment", 1)).unwrap();
    objects.delete(&id("", "ConfigMap", "kept"), None).unwrap();
    settle(&mut objects);
    assert_ne!(all(&objects), before);
    let changes = objects.take_changes();
    objects.take_back(changes);
    assert_eq!(all(&objects), before);
    assert!(objects.take_changes().is_empty());
    settle(&mut objects);
    assert_eq!(pods(&objects).len(), 2, "owners and what they own are as they were");
}

#[test]
fn changes_tell_everything_in_order() {
    let mut objects = objects();
    objects.take_changes();
    apply(&mut objects, config("a", &json!({"a": "1"}))).unwrap();
    apply(&mut objects, config("a", &json!({"a": "1"}))).unwrap();
    apply(&mut objects, config("a", &json!({"a": "2"}))).unwrap();
    objects.delete(&id("", "ConfigMap", "a"), None).unwrap();
    let changes = objects.take_changes();
    let told: Vec<_> = changes.iter().map(|change| (change.before.is_some(), change.is_gone)).collect();
    assert_eq!(told, [(false, false), (true, false), (true, true)], "what wrote nothing is not told");
    let versions: Vec<&str> = changes.iter().filter_map(|change| change.after.text("/metadata/resourceVersion")).collect();
    assert!(versions.is_sorted() && versions.len() == 3, "{versions:?}");
}

#[test]
fn a_pod_on_its_node_goes_when_the_host_says_so() {
    let mut objects = objects();
    apply(&mut objects, workload("Deployment", 1)).unwrap();
    settle(&mut objects);
    let pod = pods(&objects).remove(0);
    objects.note_gone(&pod);
    assert!(objects.get(&pod).is_some(), "nobody asked it to end");
    objects.delete(&pod, None).unwrap();
    settle(&mut objects);
    assert!(objects.get(&pod).is_some_and(|pod| pod.is_terminating() && pod.number("/metadata/deletionGracePeriodSeconds") == Some(30)));
    assert_eq!(pods(&objects).len(), 2, "another one comes up meanwhile");
    objects.note_gone(&pod);
    settle(&mut objects);
    assert!(objects.get(&pod).is_none() && pods(&objects).len() == 1);
    let mut waits = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}});
    waits["spec"] = json!({"containers": [{"name": "a", "image": "b"}]});
    let waits = apply(&mut objects, waits).unwrap().id();
    objects.delete(&waits, None).unwrap();
    assert!(objects.get(&waits).is_none(), "one without a node goes at once");
}

#[test]
fn a_namespace_waits_for_its_pods() {
    let mut objects = objects();
    apply(&mut objects, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})).unwrap();
    let mut deployment = workload("Deployment", 1);
    deployment["metadata"]["namespace"] = json!("n");
    settle(&mut objects);
    apply(&mut objects, deployment).unwrap();
    settle(&mut objects);
    let home = ResourceId::cluster("", "Namespace", "n");
    objects.delete(&home, None).unwrap();
    settle(&mut objects);
    assert_eq!(objects.get(&home).unwrap().text("/status/conditions/0/type"), Some("NamespaceContentRemaining"));
    let pod = pods(&objects).remove(0);
    objects.note_gone(&pod);
    settle(&mut objects);
    assert!(objects.get(&home).is_none());
}

#[test]
fn a_failed_pod_of_a_job_is_followed_by_another_after_a_while() {
    let mut objects = objects();
    apply(&mut objects, job(&json!({"backoffLimit": 2}))).unwrap();
    settle(&mut objects);
    for (failures, wait) in [(1, 10), (2, 20)] {
        let last = pods(&objects).into_iter().find(|pod| objects.get(pod).unwrap().text("/status/phase") == Some("Pending")).unwrap();
        let made = objects.get(&last).unwrap().time("/metadata/creationTimestamp").unwrap();
        objects.report_pod(&last, &PodState::of("Failed", false, Vec::new()));
        settle(&mut objects);
        assert_eq!(pods(&objects).len(), failures);
        assert_eq!(objects.next_alarm(), Some(made + SignedDuration::from_secs(wait)));
        after(&mut objects, wait - 1);
        assert_eq!(pods(&objects).len(), failures, "not before its time");
        after(&mut objects, 1);
        assert_eq!(pods(&objects).len(), failures + 1);
    }
}

#[test]
fn time_runs_out_for_rollouts_and_jobs() {
    let mut objects = objects();
    let deployment = apply(&mut objects, workload("Deployment", 1)).unwrap().id();
    let late = apply(&mut objects, job(&json!({"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 100}))).unwrap().id();
    settle(&mut objects);
    let progress = |objects: &Objects| objects.get(&deployment).unwrap().text("/status/conditions/1/reason").map(str::to_owned);
    after(&mut objects, 29);
    assert!(!is_true(objects.get(&late).unwrap().value(), "Failed"));
    after(&mut objects, 1);
    assert!(is_true(objects.get(&late).unwrap().value(), "Failed"));
    after(&mut objects, 29);
    assert_eq!(progress(&objects).as_deref(), Some("ReplicaSetUpdated"));
    after(&mut objects, 1);
    assert_eq!(progress(&objects).as_deref(), Some("ProgressDeadlineExceeded"));
    after(&mut objects, 69);
    assert!(objects.get(&late).is_some());
    after(&mut objects, 1);
    assert!(objects.get(&late).is_none(), "a Job that ended long enough ago goes");
}

#[test]
fn old_templates_are_forgotten_beyond_the_limit() {
    let mut objects = objects();
    for image in 0..5 {
        let mut deployment = workload("Deployment", 0);
        deployment["spec"]["revisionHistoryLimit"] = json!(2);
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("b:{image}"));
        apply(&mut objects, deployment).unwrap();
        settle(&mut objects);
    }
    let kind = provision_model::GroupKind::new("apps", "ReplicaSet");
    let sets = objects.range(&kind, None);
    let mut revisions: Vec<String> = sets
        .filter_map(|(_, set)| set.value()["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().map(str::to_owned))
        .collect();
    revisions.sort();
    assert_eq!(revisions, ["3", "4", "5"]);
}

/// Lists the sets of the Deployment: revision, wanted pods.
fn sets(objects: &Objects) -> Vec<(u64, u64)> {
    let kind = provision_model::GroupKind::new("apps", "ReplicaSet");
    let revision = |set: &Value| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap().parse().unwrap();
    let sets = objects.range(&kind, None).map(|(_, set)| (revision(set.value()), set.value()["spec"]["replicas"].as_u64().unwrap()));
    let mut sets: Vec<(u64, u64)> = sets.collect();
    sets.sort();
    sets
}

fn make_ready(objects: &mut Objects) {
    for pod in pods(objects) {
        objects.report_pod(&pod, &PodState { address: "127.0.0.9".to_owned(), ..PodState::of("Running", true, Vec::new()) });
    }
    settle(objects);
}

fn image(tag: &str, replicas: u64, strategy: &Value) -> Value {
    let mut deployment = workload("Deployment", replicas);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("b:{tag}"));
    deployment["spec"]["strategy"] = strategy.clone();
    deployment
}

#[test]
fn a_rollout_keeps_to_what_its_strategy_allows() {
    let default = json!({"type": "RollingUpdate"});
    let one_less = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let steps: [(&Value, &[(u64, u64)]); 2] = [(&default, &[(3, 2), (1, 4), (0, 4)]), (&one_less, &[(3, 1), (2, 2), (1, 3), (0, 4)])];
    for (strategy, steps) in steps {
        let mut objects = objects();
        apply(&mut objects, image("1", 4, strategy)).unwrap();
        settle(&mut objects);
        make_ready(&mut objects);
        assert_eq!(sets(&objects), [(1, 4)]);
        apply(&mut objects, image("2", 4, strategy)).unwrap();
        settle(&mut objects);
        for (old, new) in steps {
            assert_eq!(sets(&objects), [(1, *old), (2, *new)], "{strategy}");
            make_ready(&mut objects);
        }
    }
}

#[test]
fn a_template_that_is_wanted_again_is_the_newest_and_pods_that_never_worked_go_first() {
    let strategy = json!({"type": "RollingUpdate"});
    let mut objects = objects();
    let deployment = apply(&mut objects, image("good", 1, &strategy)).unwrap().id();
    settle(&mut objects);
    make_ready(&mut objects);
    for tag in ["bad", "worse"] {
        apply(&mut objects, image(tag, 1, &strategy)).unwrap();
        settle(&mut objects);
    }
    assert_eq!(sets(&objects), [(1, 1), (2, 0), (3, 1)]);
    apply(&mut objects, image("good", 1, &strategy)).unwrap();
    settle(&mut objects);
    assert_eq!(sets(&objects), [(2, 0), (3, 0), (4, 1)]);
    let annotation = "/metadata/annotations/deployment.kubernetes.io~1revision";
    assert_eq!(objects.get(&deployment).unwrap().text(annotation), Some("4"));
}

#[test]
fn services_share_no_address_and_a_full_block_is_said() {
    let mut objects = objects();
    let service = |name: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}]}});
    let mut addresses: Vec<String> = (0..3)
        .map(|number| apply(&mut objects, service(&format!("s{number}"))).unwrap().text("/spec/clusterIP").unwrap().to_owned())
        .collect();
    addresses.sort();
    assert_eq!(addresses, ["10.96.0.1", "10.96.0.2", "10.96.0.3"]);
    assert!(matches!(apply(&mut objects, service("s4")), Err(ObjectError::Invalid { .. })));
    objects.reserve(&id("", "Service", "own"), [127, 1, 2, 3].into());
    assert_eq!(apply(&mut objects, service("own")).unwrap().text("/spec/clusterIP"), Some("127.1.2.3"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is kept and read again behaves like what was never written down: also in who owns which field.
    #[test]
    fn records_keep_everything(steps in proptest::collection::vec((0_u8..3, 0_u8..3, 0_u8..4), 1..12)) {
        let data = |bits: u8| {
            let keys = ["a", "b"].iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
            Value::from_iter(keys.map(|(_, key)| ((*key).to_owned(), Value::from(format!("{bits}")))))
        };
        let mut one = objects();
        let mut other = Objects::load(settings(), kept(&one), start()).unwrap();
        for (who, name, bits) in steps {
            let manifest = Manifest::try_from(config(&format!("c{name}"), &data(bits))).unwrap();
            let manager = ["provision", "kubectl", "someone"][usize::from(who)];
            let answer = one.apply_as(&manifest.id(), manifest.value(), manager, WriteMode::Persist).unwrap();
            let same = other.apply_as(&manifest.id(), manifest.value(), manager, WriteMode::Persist).unwrap();
            prop_assert_eq!(answer.value(), same.value());
            other = Objects::load(settings(), kept(&other), start()).unwrap();
        }
        prop_assert_eq!(all(&one), all(&other));
    }
}
