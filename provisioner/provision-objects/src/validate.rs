//! What the server checks in an object by itself, with its words.

use std::collections::BTreeSet;

use base64::Engine as _;
use provision_model::ResourceId;
use serde_json::Value;

use crate::ObjectError;

/// Field, reason, message.
pub(crate) type Cause = (String, String, String);

/// Largest sum of the values of a ConfigMap or Secret, in bytes.
const DATA_LIMIT: usize = 1024 * 1024;
/// Largest object that etcd takes, in bytes.
const OBJECT_LIMIT: usize = 1536 * 1024;

/// Builds one cause.
pub(crate) fn cause(field: impl Into<String>, reason: &str, message: impl Into<String>) -> Cause {
    (field.into(), reason.to_owned(), message.into())
}

/// Builds the server's answer 422.
pub(crate) fn invalid(id: &ResourceId, causes: Vec<Cause>) -> ObjectError {
    let text: Vec<String> = causes.iter().map(|(field, _, message)| format!("{field}: {message}")).collect();
    let list = if text.len() == 1 { text.concat() } else { format!("[{}]", text.join(", ")) };
    let message = format!("{} \"{}\" is invalid: {list}", id.kind, id.name);
    ObjectError::Invalid { subject: id.to_string(), message, causes }
}

/// Builds the server's answer 400.
pub(crate) fn bad_request(id: &ResourceId, message: &str) -> ObjectError {
    ObjectError::Invalid { subject: id.to_string(), message: message.to_owned(), causes: Vec::new() }
}

/// Checks an object before the server fills in defaults.
pub(crate) fn check(id: &ResourceId, object: &Value) -> Result<(), ObjectError> {
    let mut found = Vec::new();
    check_name(id, &mut found);
    check_metadata(object, &mut found);
    match id.kind.kind.as_str() {
        "ConfigMap" | "Secret" if id.kind.group.is_empty() => check_data(id, object, &mut found)?,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" if id.kind.group == "apps" => check_workload(object, &mut found),
        "Job" if id.kind.group == "batch" => check_job(&object["spec"], "spec", &mut found),
        "CronJob" if id.kind.group == "batch" => {
            require(object, "/spec/schedule", "spec.schedule", &mut found);
            check_job(&object["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec", &mut found);
        }
        "Pod" if id.kind.group.is_empty() => check_pod(&object["spec"], "spec", &mut found),
        "Service" if id.kind.group.is_empty() => check_service(object, &mut found),
        "HorizontalPodAutoscaler" => check_autoscaler(object, &mut found),
        "PodDisruptionBudget" if object.pointer("/spec/minAvailable").is_some() && object.pointer("/spec/maxUnavailable").is_some() => {
            found.push(cause("spec", "FieldValueInvalid", "Invalid value: minAvailable and maxUnavailable cannot be both set"));
        }
        "RoleBinding" | "ClusterRoleBinding" => require(object, "/roleRef/name", "roleRef.name", &mut found),
        "PersistentVolumeClaim" => require(object, "/spec/resources/requests/storage", "spec.resources[storage]", &mut found),
        "CustomResourceDefinition" => check_crd(id, object, &mut found),
        _ => {}
    }
    if found.is_empty() && object.to_string().len() > OBJECT_LIMIT {
        return Err(bad_request(id, "etcdserver: request is too large"));
    }
    if found.is_empty() { Ok(()) } else { Err(invalid(id, found)) }
}

fn require(object: &Value, pointer: &str, field: &str, found: &mut Vec<Cause>) {
    if object.pointer(pointer).is_none_or(|value| value.is_null() || value == "") {
        found.push(cause(field, "FieldValueRequired", "Required value"));
    }
}

fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn check_name(id: &ResourceId, found: &mut Vec<Cause>) {
    let name = id.name.as_str();
    let (good, rule) = if id.kind.group == "rbac.authorization.k8s.io" {
        (!name.contains(['/', '%']) && name != "." && name != "..", "may not contain '/' or '%'")
    } else if id.kind.group.is_empty() && matches!(id.kind.kind.as_str(), "Namespace" | "Service") {
        (
            is_label(name),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
        )
    } else {
        (
            name.len() <= 253 && name.split('.').all(is_subdomain_part),
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        )
    };
    if !good {
        found.push(cause("metadata.name", "FieldValueInvalid", format!("Invalid value: \"{name}\": {rule}")));
    }
}

/// Parts of a name with dots have no length of their own.
fn is_subdomain_part(part: &str) -> bool {
    part.len() > 63 && is_label(&part[..63]) || is_label(part)
}

fn check_metadata(object: &Value, found: &mut Vec<Cause>) {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    for (name, value) in labels.into_iter().flatten() {
        let fits = value.as_str().is_some_and(|text| {
            text.len() <= 63
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
                && !text.starts_with(['-', '_', '.'])
                && !text.ends_with(['-', '_', '.'])
        });
        if !fits {
            found.push(cause(
                "metadata.labels",
                "FieldValueInvalid",
                format!("Invalid value: {value}: the value of label {name} is not allowed"),
            ));
        }
    }
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let size: usize = annotations.into_iter().flatten().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if size > 262_144 {
        found.push(cause("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes"));
    }
    for (name, value) in annotations.into_iter().flatten() {
        if !value.is_string() {
            found.push(cause("metadata.annotations", "FieldValueInvalid", format!("Invalid value: the annotation {name} is no text")));
        }
    }
}

/// The values of a Secret never get into a message.
fn check_data(id: &ResourceId, object: &Value, found: &mut Vec<Cause>) -> Result<(), ObjectError> {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (name, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            let Some(text) = value.as_str() else { return Err(bad_request(id, &format!("{field}.{name}: a text is needed"))) };
            let encoded = id.kind.kind == "Secret" || field == "binaryData";
            size += if encoded { text.len() / 4 * 3 } else { text.len() };
            if encoded && base64::engine::general_purpose::STANDARD.decode(text).is_err() {
                return Err(bad_request(id, &format!("{field}.{name}: illegal base64 data")));
            }
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
                let message =
                    format!("Invalid value: \"{name}\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'");
                found.push(cause(format!("{field}[{name}]"), "FieldValueInvalid", message));
            }
        }
    }
    if size > DATA_LIMIT {
        let field = if id.kind.kind == "Secret" { "data" } else { "[]" };
        found.push(cause(field, "FieldValueTooLong", format!("Too long: may not be more than {DATA_LIMIT} bytes")));
    }
    Ok(())
}

fn check_workload(object: &Value, found: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        let message = format!("Invalid value: {}: must be greater than or equal to 0", spec["replicas"]);
        found.push(cause("spec.replicas", "FieldValueInvalid", message));
    }
    require(object, "/spec/selector", "spec.selector", found);
    let labels = &spec["template"]["metadata"]["labels"];
    for (name, value) in spec["selector"]["matchLabels"].as_object().into_iter().flatten() {
        if labels.get(name) != Some(value) {
            let message = format!("Invalid value: {labels}: `selector` does not match template `labels`");
            found.push(cause("spec.template.metadata.labels", "FieldValueInvalid", message));
            break;
        }
    }
    check_pod(&spec["template"]["spec"], "spec.template.spec", found);
}

fn check_job(spec: &Value, path: &str, found: &mut Vec<Cause>) {
    check_pod(&spec["template"]["spec"], &format!("{path}.template.spec"), found);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy != "Never" && policy != "OnFailure" {
        let message = format!("Unsupported value: {policy}: supported values: \"OnFailure\", \"Never\"");
        found.push(cause(format!("{path}.template.spec.restartPolicy"), "FieldValueNotSupported", message));
    }
}

fn check_pod(spec: &Value, path: &str, found: &mut Vec<Cause>) {
    let list = |group: &str| spec[group].as_array().map_or(&[] as &[Value], Vec::as_slice);
    if list("containers").is_empty() {
        found.push(cause(format!("{path}.containers"), "FieldValueRequired", "Required value"));
    }
    let volumes: BTreeSet<&str> = list("volumes").iter().filter_map(|volume| volume["name"].as_str()).collect();
    let mut names = BTreeSet::new();
    for group in ["initContainers", "containers"] {
        for (place, container) in list(group).iter().enumerate() {
            let at = format!("{path}.{group}[{place}]");
            let name = container["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                found.push(cause(format!("{at}.name"), "FieldValueRequired", "Required value"));
            } else if !names.insert(name) {
                found.push(cause(format!("{at}.name"), "FieldValueDuplicate", format!("Duplicate value: \"{name}\"")));
            }
            require(container, "/image", &format!("{at}.image"), found);
            for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
                check_port(&port["containerPort"], &format!("{at}.ports[{index}].containerPort"), found);
            }
            for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
                let volume = mount["name"].as_str().unwrap_or_default();
                // Claim templates of a StatefulSet become volumes only in its pods.
                if !volumes.contains(volume) && path == "spec" {
                    found.push(cause(format!("{at}.volumeMounts[{index}].name"), "FieldValueNotFound", format!("Not found: \"{volume}\"")));
                }
            }
        }
    }
}

fn check_port(port: &Value, field: &str, found: &mut Vec<Cause>) {
    if port.as_i64().is_none_or(|port| !(1..=65535).contains(&port)) {
        found.push(cause(field, "FieldValueInvalid", format!("Invalid value: {port}: must be between 1 and 65535, inclusive")));
    }
}

fn check_service(object: &Value, found: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let ports = spec["ports"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        found.push(cause("spec.ports", "FieldValueRequired", "Required value"));
    }
    for (index, port) in ports.iter().enumerate() {
        check_port(&port["port"], &format!("spec.ports[{index}].port"), found);
        if ports.len() > 1 && port["name"].as_str().is_none_or(str::is_empty) {
            found.push(cause(format!("spec.ports[{index}].name"), "FieldValueRequired", "Required value"));
        }
    }
}

fn check_autoscaler(object: &Value, found: &mut Vec<Cause>) {
    let spec = &object["spec"];
    require(object, "/spec/scaleTargetRef/name", "spec.scaleTargetRef.name", found);
    require(object, "/spec/maxReplicas", "spec.maxReplicas", found);
    if let (Some(min), Some(max)) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64())
        && min > max
    {
        let message = format!("Invalid value: {max}: must be greater than or equal to `minReplicas`");
        found.push(cause("spec.maxReplicas", "FieldValueInvalid", message));
    }
}

fn check_crd(id: &ResourceId, object: &Value, found: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let expected = format!("{}.{}", spec["names"]["plural"].as_str().unwrap_or_default(), spec["group"].as_str().unwrap_or_default());
    if id.name != expected {
        let message = format!("Invalid value: \"{}\": must be spec.names.plural+\".\"+spec.group", id.name);
        found.push(cause("metadata.name", "FieldValueInvalid", message));
    }
    if spec["versions"].as_array().is_none_or(|versions| versions.iter().filter(|version| version["storage"] == true).count() != 1) {
        let message = "Invalid value: must have exactly one version marked as storage version";
        found.push(cause("spec.versions", "FieldValueInvalid", message));
    }
}
