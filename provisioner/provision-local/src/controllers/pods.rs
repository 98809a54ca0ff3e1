//! Pods: placed when everything is there that they refer to, and then wanted.

use std::sync::Arc;
use std::time::Duration;

use provision_model::{GroupKind, ResourceId};
use provision_objects::{Objects, PodState, Stored};
use serde_json::{Value, json};

use super::addresses::{Book, pod_key};
use super::env::{Sources, expand};
use super::files::inside;
use super::services::wanted_services;
use super::spec::{list, number, probe, quantity, stop_hook};
use crate::kubelet::{Claim, Mount, Restart, Wanted, WantedContainer, WantedPod};

/// Gives a new pod its address, or says what it waits for.
pub(crate) fn place_pod(objects: &mut Objects, id: &ResourceId, stored: &Stored, book: &mut Book) {
    let spec = &stored.value()["spec"];
    if let Some(missing) = objects.missing_reference(id, spec) {
        objects.report_pod(id, &PodState { binds: false, ..missing });
        return;
    }
    let key = pod_key(id, stored);
    if book.get(&key).is_none() {
        book.give(objects);
    }
    let Some(address) = book.get(&key) else {
        let none = PodState::unschedulable("0/1 nodes are available: no address is left".to_owned());
        objects.report_pod(id, &PodState { binds: false, ..none });
        return;
    };
    let waiting = |container: &Value| {
        json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false, "started": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}})
    };
    let containers = list(spec, "containers").map(waiting).collect();
    let initialized = list(spec, "initContainers").next().is_none();
    objects.report_pod(id, &PodState { address: address.to_string(), initialized, ..PodState::of("Pending", false, containers) });
}

fn pods(objects: &Objects) -> impl Iterator<Item = (ResourceId, Arc<Stored>)> {
    let kind = GroupKind::new("", "Pod");
    let all: Vec<_> = objects.range(&kind, None).map(|(id, pod)| (id.clone(), pod.clone())).collect();
    all.into_iter()
}

/// Says what is to run: every pod that has its place, and every Service with an address.
pub(crate) fn wanted(objects: &Objects, book: &Book) -> Wanted {
    let placed = pods(objects).filter(|(_, pod)| pod.text("/spec/nodeName").is_some());
    Wanted {
        pods: placed.filter_map(|(id, pod)| wanted_pod(objects, book, &id, &pod)).collect(),
        services: wanted_services(objects, book),
        discarded: discarded(objects),
    }
}

/// Lists the claims that are deleted and that no pod uses.
fn discarded(objects: &Objects) -> Vec<Claim> {
    let uses =
        |pod: &Stored, name: &str| list(&pod.value()["spec"], "volumes").any(|volume| volume["persistentVolumeClaim"]["claimName"] == name);
    let used = |id: &ResourceId| pods(objects).any(|(pod, stored)| pod.namespace == id.namespace && uses(&stored, &id.name));
    let kind = GroupKind::new("", "PersistentVolumeClaim");
    let ending = objects.range(&kind, None).filter(|(id, claim)| claim.is_terminating() && !used(id));
    let ends = |namespace: &str| objects.get(&ResourceId::cluster("", "Namespace", namespace)).is_some_and(|found| found.is_terminating());
    let claim = |id: &ResourceId| {
        let namespace = id.namespace.clone()?;
        Some(Claim { stays: ends(&namespace), namespace, name: id.name.clone() })
    };
    ending.filter_map(|(id, _)| claim(id)).collect()
}

fn wanted_pod(objects: &Objects, book: &Book, id: &ResourceId, pod: &Stored) -> Option<WantedPod> {
    let namespace = id.namespace.as_deref()?;
    let spec = &pod.value()["spec"];
    let sources = Sources { objects, book, namespace, pod };
    let containers = |group: &str| list(spec, group).map(|container| sources.container(spec, container)).collect();
    Some(WantedPod {
        uid: pod.uid().to_owned(),
        namespace: namespace.to_owned(),
        name: id.name.clone(),
        address: pod.text("/status/podIP")?.parse().ok()?,
        restart: match spec["restartPolicy"].as_str() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        },
        grace: Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30)),
        stopping: pod.is_terminating(),
        ended: matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed")),
        fs_group: number(&spec["securityContext"]["fsGroup"]),
        volumes: sources.volumes(spec),
        init_containers: containers("initContainers"),
        containers: containers("containers"),
    })
}

impl Sources<'_> {
    fn container(&self, spec: &Value, container: &Value) -> WantedContainer {
        let env = self.variables(container);
        let texts = |field: &str| list(container, field).filter_map(Value::as_str).map(|text| expand(text, &env)).collect();
        let security = |field: &str| number(&container["securityContext"][field]).or_else(|| number(&spec["securityContext"][field]));
        let limit = |name: &str| container["resources"]["limits"][name].as_str().and_then(quantity);
        let mount = |mount: &Value| {
            let sub_path = mount["subPath"].as_str().map(str::to_owned);
            let sub_path =
                sub_path.or_else(|| mount["subPathExpr"].as_str().map(|text| expand(text, &env))).filter(|path| !path.is_empty());
            Some(Mount {
                volume: mount["name"].as_str()?.to_owned(),
                path: mount["mountPath"].as_str()?.into(),
                sub_path: match sub_path {
                    Some(path) => Some(inside(&path)?),
                    None => None,
                },
                read_only: mount["readOnly"] == true,
            })
        };
        WantedContainer {
            name: container["name"].as_str().unwrap_or_default().to_owned(),
            image: container["image"].as_str().unwrap_or_default().to_owned(),
            command: texts("command"),
            args: texts("args"),
            working_dir: container["workingDir"].as_str().map(Into::into),
            mounts: list(container, "volumeMounts").filter_map(mount).collect(),
            run_as_user: security("runAsUser"),
            run_as_group: security("runAsGroup"),
            memory: limit("memory").map(|thousandths| thousandths / 1000),
            cpu: limit("cpu"),
            startup: probe(container, "startupProbe"),
            readiness: probe(container, "readinessProbe"),
            liveness: probe(container, "livenessProbe"),
            pre_stop: stop_hook(container),
            env,
        }
    }
}
