//! Values that the server fills in, as far as something here or in the controllers depends on them.

use base64::Engine as _;
use provision_model::ResourceId;
use serde_json::{Map, Value, json};

/// Fills in what the writer left out; `serial` makes allocated labels differ.
pub(crate) fn complete(id: &ResourceId, object: &mut Value, serial: u64) {
    match id.kind.kind.as_str() {
        "Namespace" => {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = Value::from(id.name.as_str());
            default(object, "spec", json!({"finalizers": ["kubernetes"]}));
            default(object, "status", json!({"phase": "Active"}));
        }
        "Secret" => secret(object),
        "Service" => service(object),
        "Deployment" => {
            let spec = &mut object["spec"];
            default(spec, "replicas", json!(1));
            default(spec, "strategy", json!({"type": "RollingUpdate"}));
            if spec["strategy"]["type"] == "RollingUpdate" {
                default(&mut spec["strategy"], "rollingUpdate", json!({"maxUnavailable": "25%", "maxSurge": "25%"}));
            }
            default(spec, "revisionHistoryLimit", json!(10));
            default(spec, "progressDeadlineSeconds", json!(600));
            pod(&mut spec["template"]["spec"]);
        }
        "ReplicaSet" => {
            default(&mut object["spec"], "replicas", json!(1));
            pod(&mut object["spec"]["template"]["spec"]);
        }
        "StatefulSet" => {
            let spec = &mut object["spec"];
            default(spec, "replicas", json!(1));
            default(spec, "podManagementPolicy", json!("OrderedReady"));
            default(spec, "updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
            default(spec, "revisionHistoryLimit", json!(10));
            pod(&mut spec["template"]["spec"]);
        }
        "DaemonSet" => {
            default(
                &mut object["spec"],
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
            );
            default(&mut object["spec"], "revisionHistoryLimit", json!(10));
            pod(&mut object["spec"]["template"]["spec"]);
        }
        "Job" => job(id, object, serial),
        "CronJob" => {
            default(&mut object["spec"], "concurrencyPolicy", json!("Allow"));
            default(&mut object["spec"], "suspend", json!(false));
        }
        "Pod" => {
            pod(&mut object["spec"]);
            default(object, "status", json!({"phase": "Pending"}));
        }
        "PersistentVolumeClaim" => {
            default(&mut object["spec"], "volumeMode", json!("Filesystem"));
            default(object, "status", json!({"phase": "Pending"}));
        }
        "HorizontalPodAutoscaler" => default(&mut object["spec"], "minReplicas", json!(1)),
        _ => {}
    }
}

/// Tells whether the server is to choose the address of a Service.
pub(crate) fn needs_address(id: &ResourceId, object: &Value) -> bool {
    let spec = &object["spec"];
    id.kind.kind == "Service"
        && id.kind.group.is_empty()
        && spec["type"] != "ExternalName"
        && spec.is_object()
        && spec["clusterIP"].as_str().is_none_or(str::is_empty)
}

fn default(parent: &mut Value, field: &str, value: Value) {
    if let Some(map) = parent.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

fn secret(object: &mut Value) {
    default(object, "type", json!("Opaque"));
    let plain = object.as_object_mut().and_then(|map| map.shift_remove("stringData"));
    if let Some(Value::Object(plain)) = plain {
        default(object, "data", Value::Object(Map::new()));
        for (name, value) in plain {
            let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
            object["data"][name] = Value::from(encoded);
        }
    }
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    if spec["type"] != "ExternalName" && spec["clusterIP"].is_string() {
        let address = spec["clusterIP"].clone();
        default(spec, "clusterIPs", json!([address]));
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        default(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
}

fn job(id: &ResourceId, object: &mut Value, serial: u64) {
    let spec = &mut object["spec"];
    default(spec, "backoffLimit", json!(6));
    default(spec, "parallelism", json!(1));
    default(spec, "completions", json!(1));
    default(spec, "completionMode", json!("NonIndexed"));
    default(spec, "suspend", json!(false));
    if spec.get("selector").is_none() {
        let uid = Value::from(format!("controller-{serial}"));
        spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        spec["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = uid;
        spec["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] = Value::from(id.name.as_str());
        spec["template"]["metadata"]["labels"]["job-name"] = Value::from(id.name.as_str());
    }
    pod(&mut spec["template"]["spec"]);
}

fn pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "securityContext", json!({}));
    for group in ["containers", "initContainers"] {
        for container in spec.get_mut(group).and_then(Value::as_array_mut).into_iter().flatten() {
            default(container, "imagePullPolicy", json!("IfNotPresent"));
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            default(container, "resources", json!({}));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                if let Some(probe) = container.get_mut(probe) {
                    for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
                        default(probe, field, Value::from(value));
                    }
                }
            }
        }
    }
}
