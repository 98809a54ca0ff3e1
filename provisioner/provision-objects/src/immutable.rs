//! Fields that can't be changed in place, and the words in which the server says so.

use provision_model::ResourceId;
use serde_json::Value;

use crate::ObjectError;
use crate::validate::{Cause, cause, invalid};

const STATEFUL_SET: &str = "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const POD: &str = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const CLAIM: &str = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// Checks a change of an object that is there.
pub(crate) fn check(id: &ResourceId, before: &Value, after: &Value) -> Result<(), ObjectError> {
    let mut found = Vec::new();
    let mut field = |pointer: &str| unchanged(before, after, pointer, &mut found);
    match (id.kind.group.as_str(), id.kind.kind.as_str()) {
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet") => field("/spec/selector"),
        ("batch", "Job") => {
            ["/spec/selector", "/spec/completionMode", "/spec/completions"].into_iter().for_each(&mut field);
            job_template(before, after, &mut found);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            ["/spec/group", "/spec/names/kind", "/spec/scope"].into_iter().for_each(field)
        }
        ("networking.k8s.io", "IngressClass") => field("/spec/controller"),
        ("", "Secret") => {
            field("/type");
            sealed(before, after, &mut found);
        }
        ("", "ConfigMap") => sealed(before, after, &mut found),
        ("", "PersistentVolumeClaim") => claim(before, after, &mut found),
        ("", "Pod") if fixed(&before["spec"], POD_OPEN) != fixed(&after["spec"], POD_OPEN) => {
            found.push(cause("spec", "FieldValueForbidden", POD));
        }
        ("apps", "StatefulSet") if fixed(&before["spec"], STATEFUL_SET_OPEN) != fixed(&after["spec"], STATEFUL_SET_OPEN) => {
            found.push(cause("spec", "FieldValueForbidden", STATEFUL_SET));
        }
        ("", "Service") => address(before, after, &mut found),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") if before["roleRef"] != after["roleRef"] => {
            found.push(cause("roleRef", "FieldValueInvalid", format!("Invalid value: {}: cannot change roleRef", after["roleRef"])));
        }
        ("storage.k8s.io", "StorageClass") => {
            for name in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if before.get(name) != after.get(name) {
                    found.push(cause(name, "FieldValueForbidden", format!("Forbidden: updates to {name} are forbidden.")));
                }
            }
        }
        ("scheduling.k8s.io", "PriorityClass") if before["value"] != after["value"] => {
            found.push(cause("value", "FieldValueForbidden", "Forbidden: may not be changed in an update."));
        }
        _ => {}
    }
    if found.is_empty() { Ok(()) } else { Err(invalid(id, found)) }
}

const STATEFUL_SET_OPEN: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const POD_OPEN: &[&str] =
    &["containers", "initContainers", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"];

const SUSPENDED_JOB_OPEN: &[&str] = &["nodeSelector", "tolerations", "affinity", "schedulingGates"];

/// A Job that is suspended may still be scheduled elsewhere.
fn job_template(before: &Value, after: &Value, found: &mut Vec<Cause>) {
    if before["spec"]["suspend"] != true {
        unchanged(before, after, "/spec/template", found);
        return;
    }
    let spec = |job: &Value| fixed(&job["spec"]["template"]["spec"], SUSPENDED_JOB_OPEN);
    if spec(before) != spec(after) {
        let message = format!("Invalid value: {}: field is immutable", spec(after));
        found.push(cause("spec.template.spec", "FieldValueInvalid", message));
    }
}

fn fixed(spec: &Value, open: &[&str]) -> Value {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.retain(|name, _| !open.contains(&name.as_str()));
    }
    spec
}

fn unchanged(before: &Value, after: &Value, pointer: &str, found: &mut Vec<Cause>) {
    let (old, new) = (before.pointer(pointer), after.pointer(pointer));
    if old != new {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        let value = new.map_or_else(|| "null".to_owned(), Value::to_string);
        found.push(cause(field, "FieldValueInvalid", format!("Invalid value: {value}: field is immutable")));
    }
}

fn sealed(before: &Value, after: &Value, found: &mut Vec<Cause>) {
    if before["immutable"] != true {
        return;
    }
    for name in ["immutable", "data", "binaryData"] {
        if before.get(name) != after.get(name) {
            found.push(cause(name, "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set"));
        }
    }
}

fn address(before: &Value, after: &Value, found: &mut Vec<Cause>) {
    let external = |object: &Value| object["spec"]["type"] == "ExternalName";
    if before["spec"]["clusterIP"] != after["spec"]["clusterIP"] && !external(before) && !external(after) {
        let message = format!("Invalid value: [{}]: may not change once set", after["spec"]["clusterIP"]);
        found.push(cause("spec.clusterIPs[0]", "FieldValueInvalid", message));
    }
}

fn claim(before: &Value, after: &Value, found: &mut Vec<Cause>) {
    const OPEN: &[&str] = &["resources", "volumeAttributesClassName", "volumeName"];
    if fixed(&before["spec"], OPEN) != fixed(&after["spec"], OPEN) {
        found.push(cause("spec", "FieldValueForbidden", CLAIM));
    }
    let size = |object: &Value| object.pointer("/spec/resources/requests/storage").and_then(Value::as_str).and_then(bytes);
    if let (Some(old), Some(new)) = (size(before), size(after))
        && new < old
    {
        let message = "Forbidden: field can not be less than status.capacity";
        found.push(cause("spec.resources.requests.storage", "FieldValueForbidden", message));
    }
}

/// Reads a quantity of bytes: `10Gi`, `500M`, `1024`.
fn bytes(quantity: &str) -> Option<u128> {
    let digits = quantity.len() - quantity.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u128 = quantity[..digits].parse().ok()?;
    let factor: u128 = match &quantity[digits..] {
        "" => 1,
        "k" => 1000,
        "M" => 1000 * 1000,
        "G" => 1000 * 1000 * 1000,
        "T" => 1000 * 1000 * 1000 * 1000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    Some(number * factor)
}
