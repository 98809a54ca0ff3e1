//! A small text form of objects: one line each, `WORD [NAMESPACE/]NAME KEY=VALUE...`.
//!
//! `deploy n/api image=a replicas=2 config=settings secret=db sa=app after=job:n/migrate` and the like; see [`object`].

use provision_model::{
    Dependency, Desired, DesiredObject, GroupKind, Manifest, ObjectOptions, OnRemove, Origin, Policy, ReplacePolicy, ResourceId,
};
use serde_json::{Map, Value, json};

/// Word, group/version, kind, whether it lives in a namespace.
pub(crate) const KINDS: [(&str, &str, &str, bool); 17] = [
    ("ns", "v1", "Namespace", false),
    ("cm", "v1", "ConfigMap", true),
    ("secret", "v1", "Secret", true),
    ("sa", "v1", "ServiceAccount", true),
    ("svc", "v1", "Service", true),
    ("pvc", "v1", "PersistentVolumeClaim", true),
    ("quota", "v1", "ResourceQuota", true),
    ("deploy", "apps/v1", "Deployment", true),
    ("sts", "apps/v1", "StatefulSet", true),
    ("job", "batch/v1", "Job", true),
    ("hpa", "autoscaling/v2", "HorizontalPodAutoscaler", true),
    ("pdb", "policy/v1", "PodDisruptionBudget", true),
    ("role", "rbac.authorization.k8s.io/v1", "Role", true),
    ("binding", "rbac.authorization.k8s.io/v1", "RoleBinding", true),
    ("external", "external-secrets.io/v1", "ExternalSecret", true),
    ("crd", "apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
    ("cr", "example.com/v1", "Widget", true),
];

/// Reads `word:[namespace/]name`.
pub(crate) fn id(text: &str) -> ResourceId {
    let (word, name) = text.split_once(':').unwrap();
    let (_, version, kind, _) = KINDS.iter().find(|kind| kind.0 == word).unwrap();
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let (namespace, name) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace.to_owned()), name));
    ResourceId { kind: GroupKind::new(group, *kind), namespace, name: name.to_owned() }
}

/// Reads one object for each line that is not empty; its origin is the line of the text.
pub(crate) fn desired(text: &str) -> Desired {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Desired {
        environment: "dev".parse().unwrap(),
        region: None,
        release: "dev".parse().unwrap(),
        objects: lines.map(|(index, line)| object(line.trim(), u32::try_from(index).unwrap() + 1)).collect(),
        policy: Policy::default(),
        findings: Vec::new(),
    }
}

fn object(line: &str, number: u32) -> DesiredObject {
    let mut words = line.split_whitespace();
    let (word, name) = (words.next().unwrap(), words.next().unwrap());
    let (_, version, kind, _) = KINDS.iter().find(|kind| kind.0 == word).unwrap();
    let id = id(&format!("{word}:{name}"));
    let origin = Origin::new("t.yaml", number, 1);
    let mut value = json!({"apiVersion": version, "kind": kind, "metadata": {"name": id.name}});
    if let Some(namespace) = &id.namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    if matches!(word, "deploy" | "sts" | "job") {
        value["spec"]["template"] = json!({"metadata": {"labels": {"app": id.name}}, "spec": {"containers": [{"name": "main"}]}});
    }
    if word == "crd" {
        value["spec"] =
            json!({"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [{"name": "v1", "served": true}]});
    }
    let mut object = DesiredObject {
        manifest: Manifest::try_from(json!({"apiVersion": "v1", "kind": "x", "metadata": {"name": "x"}})).unwrap(),
        origin: origin.clone(),
        depends_on: Vec::new(),
        options: ObjectOptions::default(),
    };
    for (key, setting) in words.map(|word| word.split_once('=').unwrap()) {
        match key {
            "after" => {
                let targets = setting.split(',').map(|target| Dependency { target: self::id(target), origin: origin.clone() });
                object.depends_on.extend(targets);
            }
            "keep" => object.options.on_remove = OnRemove::Keep,
            "replace" => object.options.replace = ReplacePolicy::Allowed,
            _ => set(&mut value, key, setting),
        }
    }
    object.manifest = Manifest::try_from(value).unwrap();
    object
}

fn set(value: &mut Value, key: &str, setting: &str) {
    let scalar = serde_json::from_str::<i64>(setting).map_or_else(|_| json!(setting), Value::from);
    let pod = if value["kind"] == "Pod" { "/spec" } else { "/spec/template/spec" };
    match key {
        "api" => value["apiVersion"] = json!(setting),
        "image" => value.pointer_mut(pod).unwrap()["containers"][0]["image"] = json!(setting),
        "cpu" => value.pointer_mut(pod).unwrap()["containers"][0]["cpu"] = json!(setting),
        "config" => from(value, pod, "configMapRef", setting),
        "secret" => from(value, pod, "secretRef", setting),
        "sa" => value.pointer_mut(pod).unwrap()["serviceAccountName"] = json!(setting),
        "target" => value["spec"]["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": setting}),
        "role" => value["roleRef"] = json!({"kind": "Role", "name": setting}),
        "subject" => value["subjects"] = json!([{"kind": "ServiceAccount", "name": setting}]),
        "claim" => value["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": setting}}]),
        "inits" => {
            let named = setting.split(',').map(|name| json!({ "name": name }));
            value.pointer_mut(pod).unwrap()["initContainers"] = named.collect();
        }
        "replicas" => value["spec"]["replicas"] = scalar,
        "app" => value["spec"]["selector"] = json!({"matchLabels": {"app": setting}}),
        _ => {
            let setting = match setting.strip_prefix('@').and_then(|setting| setting.split_once('#')) {
                Some((path, property)) => json!({"$secret": {"path": path, "property": property}}),
                None => scalar,
            };
            let pointer: Vec<&str> = key.split('.').collect();
            let mut place = value;
            for key in pointer {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                place = &mut place[key];
            }
            *place = setting;
        }
    }
}

fn from(value: &mut Value, pod: &str, key: &str, name: &str) {
    let container = &mut value.pointer_mut(pod).unwrap()["containers"][0];
    if container["envFrom"].is_null() {
        container["envFrom"] = json!([]);
    }
    container["envFrom"].as_array_mut().unwrap().push(json!({key: {"name": name}}));
}
