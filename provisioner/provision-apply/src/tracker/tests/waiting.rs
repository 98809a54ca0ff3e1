//! Waits, step by step, with a given time.

use std::time::Duration;

use provision_model::{Cause, Health, Manifest, Verdict};
use serde_json::{Value, json};

use super::super::state::TrackerState;
use super::super::stream::needed;
use super::super::wait::{Next, Wait};
use super::super::{Limits, StreamKey};
use super::objects::{at, deployment, key_of, manifest, owned, pod_of};
use crate::{ClusterError, WatchEvent};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), settle: Duration::from_secs(3) };

/// A wait for an object, and a cluster that tells what the test says.
struct Scene {
    state: TrackerState,
    wait: Wait,
    now: i64,
}

impl Scene {
    fn of(written: Value) -> Self {
        let written = manifest(written);
        let mut state = TrackerState::default();
        let wait = Wait::new(&written, LIMITS, &state, at(0));
        for key in needed(&written.id()) {
            state.open(&key);
        }
        Self { state, wait, now: 0 }
    }

    fn at(mut self, seconds: i64) -> Self {
        self.now = seconds;
        self
    }

    fn told(mut self, object: Value) -> Self {
        let object = manifest(object);
        self.state.observe(&key_of(&object), Ok(WatchEvent::Changed(object)), at(self.now));
        self
    }

    fn observe(mut self, key: &StreamKey, event: Result<WatchEvent, ClusterError>) -> Self {
        self.state.observe(key, event, at(self.now));
        self
    }

    fn synced(mut self, of: &Manifest) -> Self {
        for key in needed(&of.id()) {
            self.state.observe(&key, Ok(WatchEvent::Synced), at(self.now));
        }
        self
    }

    fn step(&mut self) -> Next {
        self.wait.step(&self.state, at(self.now))
    }

    fn done(&mut self) -> Verdict {
        match self.step() {
            Next::Done(verdict) => verdict,
            Next::Look(pause) => panic!("still waits, for {pause:?}"),
        }
    }

    fn waits(mut self) -> Self {
        let next = self.step();
        assert!(matches!(next, Next::Look(_)), "{next:?}");
        self
    }
}

fn seen(version: &str) -> Value {
    let mut object = deployment("a");
    object["metadata"]["resourceVersion"] = json!(version);
    object
}

fn unready(version: &str) -> Value {
    let mut object = seen(version);
    object["status"]["readyReplicas"] = json!(0);
    object["status"]["availableReplicas"] = json!(0);
    object
}

#[test]
fn ready_must_last() {
    let written = manifest(seen("10"));
    let mut scene = Scene::of(seen("10")).told(seen("11")).synced(&written).waits().at(2).waits().at(3);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn ready_that_does_not_last_begins_anew() {
    let written = manifest(seen("10"));
    let scene = Scene::of(seen("10")).told(seen("11")).synced(&written).waits();
    let scene = scene.at(2).told(unready("12")).waits().told(seen("13")).waits();
    let mut scene = scene.at(4).waits().at(5);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn the_controller_that_waits_itself_needs_no_settling() {
    let mut object = seen("11");
    object["spec"]["minReadySeconds"] = json!(5);
    let mut scene = Scene::of(object.clone()).synced(&manifest(object.clone())).told(object);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn pods_that_are_ready_for_long_have_settled() {
    let mut pod = pod_of("a-1");
    pod["status"] =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]});
    let written = manifest(seen("10"));
    let set = owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a"));
    let mut scene = Scene::of(seen("10")).told(seen("11")).told(set).told(pod).synced(&written);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn a_restart_that_nobody_saw_begins_anew() {
    let running = |version: &str, since: &str, restarts: u32| {
        let mut pod = pod_of("a-1");
        pod["metadata"]["resourceVersion"] = json!(version);
        pod["metadata"]["managedFields"] = json!([{"manager": "kubelet", "time": since}]);
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [{"name": "web", "ready": true, "restartCount": restarts, "state": {"running": {"startedAt": since}}}]});
        pod
    };
    let set = owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a"));
    let scene =
        Scene::of(seen("10")).told(seen("11")).told(set).told(running("2", "2026-01-01T00:00:00Z", 0)).synced(&manifest(seen("10")));
    let scene = scene.waits().at(2).told(running("3", "2026-01-01T00:00:02Z", 1)).at(4).waits();
    assert_eq!(scene.at(5).done().health, Health::Current);
}

#[test]
fn states_from_before_our_write_do_not_count() {
    let written = manifest(seen("10"));
    let scene = Scene::of(seen("10")).told(seen("9")).synced(&written).waits().at(30).waits();
    let mut scene = scene.told(seen("10")).waits().at(33);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn current_waits_until_what_surrounds_it_is_read() {
    let scene = Scene::of(seen("10")).told(seen("11")).at(10).waits();
    let written = manifest(seen("10"));
    let mut scene = scene.synced(&written).waits().at(13);
    assert_eq!(scene.done().health, Health::Current);
}

#[test]
fn another_object_of_the_same_name_is_a_conflict() {
    let mut other = seen("12");
    other["metadata"]["uid"] = json!("other");
    let verdict = Scene::of(seen("10")).told(other).done();
    assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(Cause::Conflict)));
}

#[test]
fn absence_counts_only_after_a_full_listing() {
    let written = manifest(seen("10"));
    let mut scene = Scene::of(seen("10")).waits().synced(&written);
    assert_eq!(scene.done().health, Health::NotFound);
}

fn job(status: Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "status": status,
        "metadata": {"name": "migrate", "namespace": "n", "uid": "j", "resourceVersion": "10", "generation": 1},
        "spec": {"ttlSecondsAfterFinished": 0},
    })
}

#[test]
fn a_job_that_is_removed_after_it_completed_is_a_success() {
    for (status, expected) in [
        (json!({"conditions": [{"type": "Complete", "status": "True"}]}), (Health::Current, None)),
        (json!({"conditions": [{"type": "Failed", "status": "True"}]}), (Health::Failed, Some(Cause::JobFailed))),
        (json!({"startTime": "2026-01-01T00:00:00Z", "active": 1}), (Health::NotFound, Some(Cause::Conflict))),
    ] {
        let mut last = job(status);
        last["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        let key = key_of(&manifest(last.clone()));
        let mut scene = Scene::of(job(json!({}))).told(job(json!({}))).waits().observe(&key, Ok(WatchEvent::Deleted(manifest(last))));
        let verdict = scene.done();
        assert_eq!((verdict.health, verdict.cause), expected);
    }
}

#[test]
fn a_kind_that_is_forbidden_is_unknown_at_once() {
    let key = key_of(&manifest(seen("10")));
    let error = ClusterError::Forbidden { verb: "watch".to_owned(), subject: "deployments".to_owned(), message: "no".to_owned() };
    let verdict = Scene::of(seen("10")).observe(&key, Err(error)).done();
    assert_eq!((verdict.health, verdict.cause), (Health::Unknown, Some(Cause::Forbidden)));
}

#[test]
fn pods_that_may_not_be_seen_leave_the_counts() {
    let written = manifest(seen("10"));
    let keys = needed(&written.id());
    let error = || ClusterError::Forbidden { verb: "watch".to_owned(), subject: "pods".to_owned(), message: "no".to_owned() };
    let mut scene = Scene::of(seen("10")).told(seen("11")).observe(&keys[0], Ok(WatchEvent::Synced));
    for key in &keys[1..] {
        scene = scene.observe(key, Err(error()));
    }
    let mut scene = scene.waits().at(3);
    assert_eq!(scene.done().health, Health::Current);
}

fn pod_without_node(since: &str) -> Value {
    let mut pod = pod_of("a-1");
    pod["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "lastTransitionTime": since, "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
    pod
}

#[test]
fn trouble_that_may_pass_is_looked_at_again_when_its_time_is_up() {
    let set = owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a"));
    let mut scene = Scene::of(seen("10")).told(unready("11")).told(set).told(pod_without_node("2026-01-01T00:00:00Z")).at(2);
    assert_eq!(scene.step(), Next::Look(Duration::from_secs(6)));
    let verdict = scene.at(8).done();
    assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(Cause::Unschedulable)));
    assert!(verdict.message.contains("Insufficient cpu"), "{}", verdict.message);
}

#[test]
fn trouble_that_passed_is_forgotten() {
    let set = owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a"));
    let mut pod = pod_of("a-1");
    pod["metadata"]["resourceVersion"] = json!("2");
    pod["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]});
    let scene = Scene::of(seen("10")).told(unready("11")).told(set).told(pod_without_node("2026-01-01T00:00:00Z")).at(2).waits();
    scene.told(pod).at(20).waits();
}

#[test]
fn a_late_object_fails_with_the_suspected_cause() {
    let set = owned("apps/v1", "ReplicaSet", "a-1", ("Deployment", "a"));
    let mut pod = pod_of("a-1");
    pod["status"] =
        json!({"phase": "Running", "containerStatuses": [{"name": "web", "restartCount": 0, "state": {"terminated": {"exitCode": 3}}}]});
    let verdict = Scene::of(seen("10")).told(unready("11")).told(set).told(pod).at(61).done();
    assert_eq!((verdict.health, verdict.cause, verdict.evidence.exit_code), (Health::Failed, Some(Cause::CrashLoop), Some(3)));
}

#[test]
fn a_late_object_without_a_known_cause_says_what_is_missing() {
    let verdict = Scene::of(seen("10")).told(unready("11")).at(61).done();
    assert_eq!((verdict.health, verdict.cause), (Health::Failed, Some(Cause::Deadline)));
    assert!(verdict.message.contains("0 of 1 pods are available"), "{}", verdict.message);
}

#[test]
fn a_silent_api_server_is_the_cause_when_nothing_was_heard() {
    let key = key_of(&manifest(seen("10")));
    let error = ClusterError::Server { subject: "deployments".to_owned(), status: 503, message: "starting".to_owned() };
    let verdict = Scene::of(seen("10")).observe(&key, Err(error)).waits().at(61).done();
    assert_eq!(verdict.cause, Some(Cause::Unreachable));
}

#[test]
fn a_custom_resource_waits_for_its_first_report() {
    let widget = |version: &str, status: Value| {
        json!({"apiVersion": "example.org/v1", "kind": "Widget", "status": status, "metadata": {
            "name": "w", "namespace": "n", "uid": "w", "resourceVersion": version, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}})
    };
    let written = manifest(widget("1", Value::Null));
    let scene = Scene::of(widget("1", Value::Null)).told(widget("1", Value::Null)).synced(&written).at(5).waits();
    let ready = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(scene.told(widget("2", ready)).done().health, Health::Current);
}
