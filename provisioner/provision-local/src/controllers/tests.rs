//! What is to run, from the objects.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use provision_apply::WriteMode;
use provision_model::{FIELD_MANAGER, GroupKind, Manifest, ResourceId};
use provision_objects::{Addresses, Objects, Settings, Uids};
use serde_json::{Value, json};

use super::addresses::Book;
use super::{place_pod, run_cron_job, wanted};
use crate::kubelet::{Check, Hook, Restart, VolumeSource, Wanted};

const BLOCK: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);

fn objects() -> Objects {
    let services = Addresses { first: [10, 96, 0, 0].into(), count: 256 };
    Objects::new(Settings { uids: Uids::Counted, services, graceful: true }, Timestamp::UNIX_EPOCH)
}

fn apply(objects: &mut Objects, value: Value) -> ResourceId {
    let manifest = Manifest::try_from(value).unwrap();
    let id = objects.checked_id(&manifest).unwrap();
    objects.apply_as(&id, manifest.value(), FIELD_MANAGER, WriteMode::Persist).unwrap();
    id
}

fn object(kind: &str, name: &str, field: &str, value: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}}, field: value})
}

/// Places the pod and says what is to run.
fn run(objects: &mut Objects, spec: &Value) -> Wanted {
    let pod = apply(objects, object("Pod", "web", "spec", spec));
    let mut book = Book::read(objects, BLOCK);
    let stored = objects.get(&pod).unwrap().clone();
    if stored.text("/spec/nodeName").is_none() {
        place_pod(objects, &pod, &stored, &mut book);
    }
    loop {
        let wanted = wanted(objects, &book);
        if !book.give(objects) {
            return wanted;
        }
    }
}

#[test]
fn variables_follow_their_references() {
    let mut objects = objects();
    apply(&mut objects, object("ConfigMap", "settings", "data", &json!({"A": "from map", "URL": "http://api.default.svc:80/x"})));
    apply(&mut objects, object("Secret", "keys", "stringData", &json!({"TOKEN": "s3cret"})));
    apply(&mut objects, object("Service", "api", "spec", &json!({"ports": [{"port": 80}], "selector": {"app": "api"}})));
    let env = json!([
        {"name": "PLAIN", "value": "x"},
        {"name": "COMPOSED", "value": "$(PLAIN)-$(TOKEN)-$(MISSING)-$$(PLAIN)"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "TOKEN"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "nothing", "optional": true}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "A", "value": "wins"},
    ]);
    let wanted = run(
        &mut objects,
        &json!({"containers": [{"name": "app", "image": "i", "args": ["--token=$(TOKEN)"], "env": env,
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}], "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}]}),
    );
    let pod = &wanted.pods[0];
    let container = &pod.containers[0];
    let value = |name: &str| container.env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    for (name, expected) in [
        ("PLAIN", Some("x")),
        ("COMPOSED", Some("x-s3cret-$(MISSING)-$(PLAIN)")),
        ("KEY", Some("s3cret")),
        ("NONE", None),
        ("NAME", Some("web")),
        ("APP", Some("web")),
        ("IP", Some(pod.address.to_string().as_str())),
        ("CPUS", Some("2")),
        ("A", Some("wins")),
        ("URL", Some(format!("http://{}:80/x", wanted.services[0].address).as_str())),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert_eq!(container.args, ["--token=s3cret"]);
    assert_eq!((container.memory, container.cpu), (Some(64 << 20), Some(1500)));
    assert!(!format!("{wanted:?}").contains("s3cret"));
    assert!(pod.address.octets().starts_with(&[127, 16]) && pod.address != wanted.services[0].address);
}

#[test]
fn volumes_hold_what_objects_say() {
    let mut objects = objects();
    apply(&mut objects, object("ConfigMap", "files", "data", &json!({"a.conf": "to db.default.svc:1", "b": "b", "..": "escape"})));
    apply(&mut objects, object("Secret", "keys", "stringData", &json!({"key": "k"})));
    apply(&mut objects, object("PersistentVolumeClaim", "disk", "spec", &json!({"resources": {"requests": {"storage": "1Gi"}}})));
    let wanted = run(
        &mut objects,
        &json!({"containers": [{"name": "app", "image": "i", "volumeMounts": [
            {"name": "files", "mountPath": "/etc/files", "readOnly": true}, {"name": "disk", "mountPath": "/data", "subPath": "x/y"},
            {"name": "disk", "mountPath": "/bad", "subPath": "../x"}]}],
        "volumes": [{"name": "files", "configMap": {"name": "files", "defaultMode": 0o400}},
            {"name": "one", "configMap": {"name": "files", "items": [{"key": "b", "path": "deep/b", "mode": 0o600}, {"key": "a.conf", "path": "../a"}]}},
            {"name": "both", "projected": {"sources": [{"secret": {"name": "keys"}}, {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
            {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "host", "hostPath": {"path": "/run/x"}}]}),
    );
    let files = |name: &str| match &wanted.pods[0].volumes.iter().find(|volume| volume.name == name).unwrap().source {
        VolumeSource::Files(files) => files.iter().map(|file| (file.path.to_str().unwrap().to_owned(), file.mode)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(files("files"), [("a.conf".to_owned(), 0o400), ("b".to_owned(), 0o400)]);
    assert_eq!(files("one"), [("deep/b".to_owned(), 0o600)]);
    assert_eq!(files("both"), [("key".to_owned(), 0o644), ("name".to_owned(), 0o644)]);
    let source = |name: &str| wanted.pods[0].volumes.iter().find(|volume| volume.name == name).map(|volume| volume.source.clone());
    assert_eq!(source("disk"), Some(VolumeSource::Claim { name: "disk".to_owned() }));
    assert_eq!(source("tmp"), Some(VolumeSource::Empty { limit: Some(1 << 20) }));
    assert_eq!(source("host"), Some(VolumeSource::Host { path: "/run/x".into() }));
    let mounts = &wanted.pods[0].containers[0].mounts;
    assert_eq!(mounts.iter().map(|mount| mount.path.to_str().unwrap()).collect::<Vec<_>>(), ["/etc/files", "/data"]);
    let Some(VolumeSource::Files(all)) = source("files") else { panic!() };
    let text = String::from_utf8(all[0].content.clone()).unwrap();
    assert!(text.starts_with("to 127.16."), "a Service has its address before it is there: {text}");
}

#[test]
fn probes_and_hooks_know_the_numbers_of_ports() {
    let mut objects = objects();
    let wanted = run(
        &mut objects,
        &json!({"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 7,
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "containers": [{"name": "app", "image": "i", "ports": [{"name": "http", "containerPort": 8080}],
            "securityContext": {"runAsUser": 1001},
            "startupProbe": {"exec": {"command": ["true"]}},
            "readinessProbe": {"httpGet": {"port": "http", "path": "/ready"}, "periodSeconds": 2},
            "livenessProbe": {"grpc": {"port": 50051}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}]}),
    );
    let (pod, container) = (&wanted.pods[0], &wanted.pods[0].containers[0]);
    let readiness = container.readiness.clone().unwrap();
    assert_eq!(readiness.check, Check::Http { port: 8080, path: "/ready".to_owned(), headers: Vec::new(), tls: false });
    assert_eq!((readiness.period.as_secs(), readiness.timeout.as_secs(), readiness.failure_threshold), (2, 1, 3));
    assert_eq!(container.liveness.clone().unwrap().check, Check::Grpc { port: 50051, service: String::new() });
    assert_eq!(container.startup.clone().unwrap().check, Check::Exec { command: vec!["true".to_owned()] });
    assert_eq!(container.pre_stop, Some(Hook::Sleep(std::time::Duration::from_secs(3))));
    assert_eq!((pod.restart, pod.grace.as_secs(), pod.fs_group, container.run_as_user), (Restart::OnFailure, 7, Some(2000), Some(1001)));
}

#[test]
fn a_pod_waits_until_what_it_refers_to_is_there() {
    let mut objects = objects();
    let spec = json!({"containers": [{"name": "app", "image": "i", "envFrom": [{"secretRef": {"name": "later"}}]}]});
    assert!(run(&mut objects, &spec).pods.is_empty());
    let pod = ResourceId::namespaced("", "Pod", "default", "web");
    let reason = objects.get(&pod).unwrap().text("/status/containerStatuses/0/state/waiting/reason").map(str::to_owned);
    assert_eq!(reason.as_deref(), Some("CreateContainerConfigError"));
    let secret = apply(&mut objects, object("Secret", "later", "stringData", &json!({"A": "1"})));
    assert_eq!(run(&mut objects, &spec).pods.len(), 1);
    objects.delete(&secret, None).unwrap();
    assert_eq!(run(&mut objects, &spec).pods.len(), 1, "what runs goes on");
}

#[test]
fn schedules_start_jobs_when_they_are_due() {
    let mut objects = objects();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let step = |objects: &mut Objects, id: &ResourceId, now: &str| -> Vec<String> {
        objects.set_time(at(now));
        let stored = objects.get(id).unwrap().clone();
        run_cron_job(objects, id, &stored);
        objects.ids(&GroupKind::new("batch", "Job"), None).into_iter().map(|id| id.name).collect()
    };
    let cron = |name: &str, spec: Value| {
        let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
        let mut object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"},
            "spec": {"schedule": "*/5 * * * *", "jobTemplate": template}});
        spec.as_object().unwrap().iter().for_each(|(field, value)| object["spec"][field] = value.clone());
        object
    };
    objects.set_time(at("2026-01-01T00:01:00Z"));
    let id = apply(&mut objects, cron("backup", json!({"concurrencyPolicy": "Forbid"})));
    let first = format!("backup-{}", at("2026-01-01T00:05:00Z").as_second() / 60);
    assert!(step(&mut objects, &id, "2026-01-01T00:04:59Z").is_empty());
    assert_eq!(objects.next_alarm(), Some(at("2026-01-01T00:05:00Z")));
    let only = vec![first.clone()];
    assert_eq!(step(&mut objects, &id, "2026-01-01T00:05:00Z"), only);
    assert_eq!(step(&mut objects, &id, "2026-01-01T00:05:01Z"), only, "once");
    assert_eq!(step(&mut objects, &id, "2026-01-01T00:10:00Z"), only, "the last one still runs");
    assert_eq!(objects.get(&id).unwrap().text("/status/lastScheduleTime"), Some("2026-01-01T00:10:00Z"));
    let job = ResourceId::namespaced("batch", "Job", "default", &first);
    objects.control(&job, Some("status"), |job| job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]}));
    let later = step(&mut objects, &id, "2026-01-01T03:02:00Z");
    assert_eq!(later, [first, format!("backup-{}", at("2026-01-01T03:00:00Z").as_second() / 60)], "of what was missed the last one");
    let zone = apply(&mut objects, cron("zone", json!({"schedule": "30 9 * * *", "timeZone": "Europe/Paris"})));
    step(&mut objects, &zone, "2026-01-01T04:00:00Z");
    assert_eq!(step(&mut objects, &zone, "2026-01-01T08:30:00Z").len(), 3);
    for (name, spec) in
        [("bad", json!({"schedule": "every day"})), ("six", json!({"timeZone": "Nowhere/None"})), ("idle", json!({"suspend": true}))]
    {
        let id = apply(&mut objects, cron(name, spec));
        assert_eq!(step(&mut objects, &id, "2026-01-02T12:00:00Z").len(), 3, "{name}");
    }
    let events = objects.ids(&GroupKind::new("", "Event"), None);
    assert_eq!(events.iter().filter(|id| id.name.starts_with("bad.") || id.name.starts_with("six.")).count(), 2);
}

#[test]
fn addresses_are_of_one_each_and_rest_after_use() {
    let mut objects = objects();
    let mut book = Book::read(&objects, BLOCK);
    let keys: Vec<String> = (0..5000).map(|number| format!("pod/{number}")).collect();
    assert!(keys.iter().all(|key| book.get(key).is_none()));
    book.give(&mut objects);
    let given: Vec<Ipv4Addr> = keys.iter().filter_map(|key| book.get(key)).collect();
    assert_eq!(given.len(), 4096 - 3, "all of the block but what belongs to itself");
    assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), given.len());
    assert!(given.iter().all(|address| (u32::from(BLOCK) + 2..u32::from(BLOCK) + 4095).contains(&u32::from(*address))));
    let mut again = Book::read(&objects, BLOCK);
    assert_eq!(keys.iter().filter_map(|key| again.get(key)).collect::<Vec<_>>(), given, "the objects remember");
    again.forget_pods(&mut objects);
    assert_eq!(Book::read(&objects, BLOCK).get(&keys[0]), None);
}
