//! What only the cluster in memory has: scripts, refusals, faults, steps by hand.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use provision_apply::{Access, Cluster, ClusterError, Failure, Fault, MemoryCluster, PodScript, Verb, WatchEvent, WriteMode};
use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::{Value, json};

use super::table::name_of;

const NS: &str = "default";

fn manifest(value: Value) -> Manifest {
    Manifest::try_from(value).unwrap()
}

async fn apply(cluster: &MemoryCluster, value: Value) -> Result<Manifest, ClusterError> {
    cluster.apply(&manifest(value), WriteMode::Persist).await
}

fn id(group: &str, kind: &str, name: &str) -> ResourceId {
    ResourceId::namespaced(group, kind, NS, name)
}

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NS}, "data": {"key": "value"}})
}

fn workload(kind: &str, name: &str, replicas: u64) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": NS}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "containers": [{"name": "app", "image": "registry.invalid/app:1", "ports": [{"name": "http", "containerPort": 8080}]}]}}}});
    match kind {
        "DaemonSet" => {}
        "StatefulSet" => {
            object["spec"]["replicas"] = json!(replicas);
            object["spec"]["serviceName"] = json!(name);
            let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
            object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": claim}]);
        }
        _ => object["spec"]["replicas"] = json!(replicas),
    }
    object
}

fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NS}, "spec": {"backoffLimit": 2,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "registry.invalid/app:1"}]}}}})
}

fn status(cluster: &MemoryCluster, id: &ResourceId) -> Value {
    cluster.peek(id).unwrap().value()["status"].clone()
}

fn pods(cluster: &MemoryCluster) -> Vec<Manifest> {
    let all = cluster.ids().into_iter().filter(|id| id.kind.kind == "Pod");
    all.map(|id| cluster.peek(&id).unwrap()).collect()
}

fn condition(status: &Value, kind: &str) -> Value {
    status["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == kind).cloned().unwrap_or_default()
}

#[tokio::test]
async fn workloads_come_up() {
    let cluster = MemoryCluster::new();
    for (kind, pointer, wanted) in
        [("Deployment", "/readyReplicas", 3), ("StatefulSet", "/readyReplicas", 3), ("DaemonSet", "/numberReady", 1)]
    {
        let name = kind.to_lowercase();
        apply(&cluster, workload(kind, &name, 3)).await.unwrap();
        let status = status(&cluster, &id("apps", kind, &name));
        assert_eq!(status.pointer(pointer), Some(&json!(wanted)), "{kind}: {status}");
        assert_eq!(status["observedGeneration"], 1, "{kind}");
    }
    assert_eq!(cluster.ids().iter().filter(|id| id.kind.kind == "PersistentVolumeClaim").count(), 3);
    let names: Vec<String> =
        pods(&cluster).iter().filter(|pod| pod.name().starts_with("statefulset")).map(|pod| pod.name().to_owned()).collect();
    assert_eq!(names, ["statefulset-0", "statefulset-1", "statefulset-2"]);
    cluster.delete(&id("apps", "Deployment", "deployment"), None).await.unwrap();
    assert!(!pods(&cluster).iter().any(|pod| pod.name().starts_with("deployment")));
}

#[tokio::test]
async fn a_script_decides_what_becomes_of_pods() {
    let text = |text: &str| text.to_owned();
    let cases = [
        (PodScript::NeverReady { message: text("503") }, "/status/containerStatuses/0/ready", json!(false), "Unhealthy"),
        (
            PodScript::ImagePullBackOff { message: text("not found") },
            "/status/containerStatuses/0/state/waiting/reason",
            json!("ImagePullBackOff"),
            "BackOff",
        ),
        (
            PodScript::CrashLoop { exit_code: 3, log: vec![] },
            "/status/containerStatuses/0/lastState/terminated/exitCode",
            json!(3),
            "BackOff",
        ),
        (PodScript::OutOfMemory, "/status/containerStatuses/0/lastState/terminated/reason", json!("OOMKilled"), "BackOff"),
        (PodScript::Unschedulable { message: text("no node") }, "/status/conditions/0/reason", json!("Unschedulable"), "FailedScheduling"),
    ];
    for (script, pointer, wanted, reason) in cases {
        let cluster = MemoryCluster::new();
        cluster.script_pods("api", script.clone());
        apply(&cluster, workload("Deployment", "api", 1)).await.unwrap();
        assert_eq!(pods(&cluster)[0].value().pointer(pointer), Some(&wanted), "{script:?}");
        let deployment = id("apps", "Deployment", "api");
        assert_eq!(condition(&status(&cluster, &deployment), "Available")["status"], "False", "{script:?}");
        let events: Vec<Manifest> = cluster.ids().iter().filter(|id| id.kind.kind == "Event").filter_map(|id| cluster.peek(id)).collect();
        assert!(events.iter().any(|event| event.text("/reason") == Some(reason)), "{script:?}");
        cluster.exceed_deadline(&deployment);
        assert_eq!(condition(&status(&cluster, &deployment), "Progressing")["reason"], "ProgressDeadlineExceeded", "{script:?}");
        cluster.script_pods("api", PodScript::Ready);
        assert_eq!(status(&cluster, &deployment)["readyReplicas"], 1, "{script:?}");
    }
}

#[tokio::test]
async fn a_bad_image_leaves_the_old_pods_in_place() {
    for kind in ["Deployment", "StatefulSet"] {
        let cluster = MemoryCluster::new();
        cluster.script_image(":bad", PodScript::CrashLoop { exit_code: 1, log: vec!["one".to_owned(), "two".to_owned()] });
        apply(&cluster, workload(kind, "api", 2)).await.unwrap();
        let mut bad = workload(kind, "api", 2);
        bad["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.invalid/app:bad");
        apply(&cluster, bad).await.unwrap();
        let old = pods(&cluster).iter().filter(|pod| pod.text("/spec/containers/0/image") == Some("registry.invalid/app:1")).count();
        assert_eq!(old, if kind == "Deployment" { 2 } else { 1 }, "{kind}");
        let broken =
            pods(&cluster).into_iter().find(|pod| pod.text("/spec/containers/0/image") == Some("registry.invalid/app:bad")).unwrap();
        assert_eq!(cluster.logs(&broken.id(), "app", true, 1).await.unwrap(), ["two"], "{kind}");
        apply(&cluster, workload(kind, "api", 2)).await.unwrap();
        assert!(pods(&cluster).iter().all(|pod| pod.text("/spec/containers/0/image") == Some("registry.invalid/app:1")), "{kind}");
        assert_eq!(status(&cluster, &id("apps", kind, "api"))["readyReplicas"], 2, "{kind}");
    }
}

#[tokio::test]
async fn jobs_run_and_are_counted() {
    let cluster = MemoryCluster::new();
    apply(&cluster, job("good")).await.unwrap();
    assert_eq!(condition(&status(&cluster, &id("batch", "Job", "good")), "Complete")["status"], "True");
    apply(&cluster, job("good")).await.unwrap();
    assert_eq!(cluster.job_runs("good"), 1);
    cluster.script_pods("bad", PodScript::CrashLoop { exit_code: 1, log: vec![] });
    apply(&cluster, job("bad")).await.unwrap();
    assert_eq!(condition(&status(&cluster, &id("batch", "Job", "bad")), "Failed")["reason"], "BackoffLimitExceeded");
    assert_eq!(cluster.job_runs("bad"), 3);
}

#[tokio::test]
async fn pods_wait_for_what_they_refer_to() {
    let cluster = MemoryCluster::new();
    let mut object = workload("Deployment", "api", 1);
    let spec = &mut object["spec"]["template"]["spec"];
    spec["serviceAccountName"] = json!("robot");
    spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    spec["volumes"] = json!([{"name": "v", "secret": {"secretName": "keys"}}]);
    apply(&cluster, object).await.unwrap();
    let deployment = id("apps", "Deployment", "api");
    let failure = condition(&status(&cluster, &deployment), "ReplicaFailure");
    assert!(failure["message"].as_str().unwrap().contains("serviceaccount \"robot\" not found"), "{failure}");
    for (object, reason) in [
        (json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": NS}}), "ContainerCreating"),
        (json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": NS}}), "CreateContainerConfigError"),
    ] {
        apply(&cluster, object).await.unwrap();
        assert_eq!(pods(&cluster)[0].text("/status/containerStatuses/0/state/waiting/reason"), Some(reason));
    }
    apply(&cluster, config("settings")).await.unwrap();
    assert_eq!(status(&cluster, &deployment)["readyReplicas"], 1);
}

#[tokio::test]
async fn services_answer_when_a_pod_behind_them_is_ready() {
    let cluster = MemoryCluster::new();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": NS},
        "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    let service = apply(&cluster, service).await.unwrap().id();
    let refused = cluster.get_through_service(&service, "http", "/healthz").await;
    assert_eq!(refused.map_err(|error| name_of(&error)).err(), Some("Server"));
    apply(&cluster, workload("Deployment", "api", 2)).await.unwrap();
    assert_eq!(cluster.get_through_service(&service, "80", "/healthz").await.unwrap().status, 200);
    cluster.script_answer(&service, 500, "broken");
    assert_eq!(cluster.get_through_service(&service, "http", "/healthz").await.unwrap().body, "broken");
    let slice = cluster.ids().into_iter().find(|id| id.kind.kind == "EndpointSlice").unwrap();
    let slice = cluster.peek(&slice).unwrap();
    assert_eq!(slice.value()["endpoints"].as_array().map(Vec::len), Some(2));
    assert_eq!(slice.value().pointer("/ports/0/port"), Some(&json!(8080)));
}

#[tokio::test]
async fn an_autoscaler_owns_the_replicas_that_it_sets() {
    let cluster = MemoryCluster::new();
    let deployment = id("apps", "Deployment", "api");
    let mut object = workload("Deployment", "api", 1);
    object["spec"].as_object_mut().unwrap().shift_remove("replicas");
    apply(&cluster, object.clone()).await.unwrap();
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api", "namespace": NS},
        "spec": {"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    apply(&cluster, scaler).await.unwrap();
    assert_eq!(status(&cluster, &deployment)["readyReplicas"], 2);
    cluster.scale(&deployment, 4).unwrap();
    let after = apply(&cluster, object).await.unwrap();
    assert_eq!(after.value().pointer("/spec/replicas"), Some(&json!(4)));
    let entry = after.managed_fields().iter().find(|entry| entry["subresource"] == "scale").unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
}

#[tokio::test]
async fn other_people_own_what_they_edit() {
    let cluster = MemoryCluster::new();
    let made = apply(&cluster, config("shared")).await.unwrap();
    let edited = cluster.edit_as("kubectl-edit", None, &made.id(), |object| object["data"]["key"] = json!("other")).unwrap();
    let owners: Vec<&Value> = edited.managed_fields().iter().map(|entry| &entry["manager"]).collect();
    assert_eq!(owners, ["kubectl-edit"], "our entry owned only that field");
    let back = apply(&cluster, config("shared")).await.unwrap();
    assert_eq!(back.managed_fields().len(), 1);
    assert_eq!(back.value().pointer("/data/key"), Some(&json!("value")));
}

#[tokio::test]
async fn refusals_are_told_as_the_server_tells_them() {
    let kind = GroupKind::new("", "ConfigMap");
    let right = |verb: &str| Access { verb: verb.to_owned(), group: String::new(), resource: "configmaps".to_owned(), namespace: None };
    type SetUp<'s> = &'s dyn Fn(&MemoryCluster);
    let cases: [(&str, SetUp<'_>, &str); 6] = [
        ("a webhook", &|cluster| cluster.refuse(&kind, "no"), "Admission"),
        ("a quota", &|cluster| cluster.exhaust_quota(&kind, "full"), "Quota"),
        ("a missing right", &|cluster| cluster.forbid(right("patch")), "Forbidden"),
        ("a missing right to create", &|cluster| cluster.forbid(right("create")), "Forbidden"),
        ("expired credentials", &|cluster| cluster.expire_credentials(true), "Unauthorized"),
        ("no connection", &|cluster| cluster.disconnect(true), "Unreachable"),
    ];
    for (name, set_up, wanted) in cases {
        let cluster = MemoryCluster::new();
        set_up(&cluster);
        assert_eq!(apply(&cluster, config("x")).await.map_err(|error| name_of(&error)).err(), Some(wanted), "{name}");
        cluster.allow_all();
        cluster.expire_credentials(false);
        cluster.disconnect(false);
        assert!(apply(&cluster, config("x")).await.is_ok(), "{name}");
    }
    let cluster = MemoryCluster::new();
    cluster.refuse_deletion(&kind, "kept");
    apply(&cluster, config("x")).await.unwrap();
    assert_eq!(cluster.delete(&id("", "ConfigMap", "x"), None).await.map_err(|error| name_of(&error)).err(), Some("Admission"));
    cluster.forbid(right("delete"));
    assert_eq!(cluster.missing_rights(&[right("delete"), right("get")]).await.unwrap(), [right("delete")]);
}

#[tokio::test]
async fn a_quota_on_pods_shows_on_the_workload() {
    let cluster = MemoryCluster::new();
    cluster.exhaust_quota(&GroupKind::new("", "Pod"), "exceeded quota: compute");
    apply(&cluster, workload("Deployment", "api", 2)).await.unwrap();
    let failure = condition(&status(&cluster, &id("apps", "Deployment", "api")), "ReplicaFailure");
    assert!(failure["message"].as_str().unwrap().contains("exceeded quota: compute"), "{failure}");
    cluster.allow_all();
    assert_eq!(status(&cluster, &id("apps", "Deployment", "api"))["readyReplicas"], 2);
}

#[tokio::test]
async fn a_fault_strikes_at_its_request() {
    let cases = [
        (Fault::HangBefore(2), false, None),
        (Fault::HangAfter(2), true, None),
        (Fault::FailBefore(2, Failure::Throttled), false, Some("Throttled")),
        (Fault::FailBefore(2, Failure::Unreachable), false, Some("Unreachable")),
        (Fault::FailBefore(2, Failure::Server), false, Some("Server")),
        (Fault::FailAfter(2), true, Some("Unreachable")),
    ];
    for (fault, effect, error) in cases {
        let cluster = MemoryCluster::new();
        cluster.fault(fault);
        apply(&cluster, config("first")).await.unwrap();
        let second = apply(&cluster, config("second"));
        match error {
            Some(error) => assert_eq!(second.await.map_err(|error| name_of(&error)).err(), Some(error), "{fault:?}"),
            None => {
                tokio::select! {
                    answer = second => panic!("{fault:?}: {answer:?}"),
                    () = cluster.wait_killed() => {}
                }
                let third = tokio::time::timeout(Duration::from_millis(50), apply(&cluster, config("third"))).await;
                assert!(third.is_err(), "{fault:?}: a killed client gets no answer");
                cluster.clear_fault();
            }
        }
        assert_eq!(cluster.peek(&id("", "ConfigMap", "second")).is_some(), effect, "{fault:?}");
        assert!(cluster.peek(&id("", "ConfigMap", "third")).is_none(), "{fault:?}");
        assert!(apply(&cluster, config("third")).await.is_ok(), "{fault:?}");
    }
}

#[tokio::test]
async fn requests_are_logged_and_counted() {
    let cluster = MemoryCluster::new();
    apply(&cluster, config("a")).await.unwrap();
    cluster.apply(&manifest(config("a")), WriteMode::DryRun).await.unwrap();
    let kind = cluster.api().await.unwrap().find(&GroupKind::new("", "ConfigMap"), None).cloned().unwrap();
    cluster.list(&kind, None).await.unwrap();
    let verbs: Vec<Verb> = cluster.request_log().iter().map(|request| request.verb).collect();
    assert_eq!(verbs, [Verb::Apply, Verb::DryRun, Verb::Discover, Verb::List]);
    let counts = cluster.requests();
    assert_eq!((counts.writes, counts.dry_runs, counts.others, counts.lists), (1, 1, 1, 1));
}

#[tokio::test]
async fn controllers_wait_when_told_to() {
    let cluster = MemoryCluster::new();
    let deployment = id("apps", "Deployment", "api");
    cluster.hold(&deployment);
    apply(&cluster, workload("Deployment", "api", 1)).await.unwrap();
    assert_eq!(status(&cluster, &deployment), Value::Null);
    cluster.release(&deployment);
    assert_eq!(status(&cluster, &deployment)["readyReplicas"], 1);
    cluster.step_by_hand();
    cluster.delay(&GroupKind::new("batch", "Job"), 2);
    apply(&cluster, job("slow")).await.unwrap();
    let slow = id("batch", "Job", "slow");
    let mut ticks = 0;
    while condition(&status(&cluster, &slow), "Complete").is_null() {
        assert!(cluster.tick(), "nothing is left to do after {ticks} ticks");
        ticks += 1;
    }
    assert!(ticks > 3, "{ticks}");
}

#[tokio::test]
async fn a_watch_starts_anew_when_the_server_is_back() {
    let cluster = MemoryCluster::new();
    let kind = cluster.api().await.unwrap().find(&GroupKind::new("", "ConfigMap"), None).cloned().unwrap();
    cluster.disconnect(true);
    let mut early = cluster.watch(&kind, Some(NS));
    assert!(matches!(early.next().await, Some(Err(ClusterError::Unreachable { .. }))));
    cluster.disconnect(false);
    apply(&cluster, config("a")).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = early.next().now_or_never().flatten() {
        told.push(match event.unwrap() {
            WatchEvent::Changed(object) => format!("changed {}", object.name()),
            WatchEvent::Deleted(object) => format!("deleted {}", object.name()),
            WatchEvent::Synced => "synced".to_owned(),
            WatchEvent::Restarted => "restarted".to_owned(),
        });
    }
    assert_eq!(told, ["restarted", "changed kube-root-ca.crt", "synced", "changed a"]);
}

#[tokio::test]
async fn a_crd_with_a_taken_name_is_not_established() {
    let crd = |plural: &str, kind: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.x.invalid")},
            "spec": {"group": "x.invalid", "scope": "Cluster", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {}}]}})
    };
    let cluster = MemoryCluster::new();
    apply(&cluster, crd("things", "Thing")).await.unwrap();
    let second = apply(&cluster, crd("items", "Thing")).await.unwrap().id();
    assert_eq!(condition(&status(&cluster, &second), "NamesAccepted")["status"], "False");
    assert_eq!(cluster.api().await.unwrap().versions(&GroupKind::new("x.invalid", "Thing")), ["v1"]);
}
