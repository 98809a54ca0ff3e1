//! What a pod names.

use std::borrow::Cow;

use provision_model::{Manifest, ResourceId};
use serde_json::{Map, Value};

use super::{Collector, items, text};

const CONFIG_MAP: (&str, &str) = ("", "ConfigMap");
const SECRET: (&str, &str) = ("", "Secret");

/// Returns where the pod specification of a manifest is, and it.
pub(crate) fn pod_spec(manifest: &Manifest) -> Option<(&'static str, &Value)> {
    let (template, field) = place(manifest)?;
    Some((field, manifest.value().pointer(template)?.get("spec")?))
}

/// Returns the labels that the pods of a manifest get.
pub(crate) fn pod_labels(manifest: &Manifest) -> Option<Cow<'_, Map<String, Value>>> {
    let (template, _) = place(manifest)?;
    let labels = manifest.value().pointer(template)?.pointer("/metadata/labels").and_then(Value::as_object);
    Some(labels.map_or_else(|| Cow::Owned(Map::new()), Cow::Borrowed))
}

/// Returns the service account under which the pods of a manifest run.
pub(crate) fn service_account(manifest: &Manifest) -> Option<ResourceId> {
    let (_, spec) = pod_spec(manifest)?;
    Some(ResourceId::namespaced("", "ServiceAccount", manifest.namespace()?, account_name(spec)))
}

fn place(manifest: &Manifest) -> Option<(&'static str, &'static str)> {
    let kind = manifest.group_kind();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => Some(("", "spec")),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            Some(("/spec/template", "spec.template.spec"))
        }
        ("batch", "CronJob") => Some(("/spec/jobTemplate/spec/template", "spec.jobTemplate.spec.template.spec")),
        _ => None,
    }
}

fn account_name(spec: &Value) -> &str {
    text(spec, "serviceAccountName").filter(|name| !name.is_empty()).unwrap_or("default")
}

pub(super) fn collect(spec: &Value, field: &str, out: &mut Collector<'_>) {
    out.local(("", "ServiceAccount"), None, Some(account_name(spec)), format!("{field}.serviceAccountName"));
    out.global(("scheduling.k8s.io", "PriorityClass"), text(spec, "priorityClassName"), format!("{field}.priorityClassName"));
    out.global(("node.k8s.io", "RuntimeClass"), text(spec, "runtimeClassName"), format!("{field}.runtimeClassName"));
    pull_secrets(spec, field, out);
    for volume in items(spec, "/volumes") {
        self::volume(volume, &format!("{field}.volumes[{}]", text(volume, "name").unwrap_or_default()), out);
    }
    for list in ["initContainers", "containers"] {
        for container in items(spec, &format!("/{list}")) {
            environment(container, &format!("{field}.{list}[{}]", text(container, "name").unwrap_or_default()), out);
        }
    }
}

pub(super) fn pull_secrets(holder: &Value, field: &str, out: &mut Collector<'_>) {
    let dot = if field.is_empty() { "" } else { "." };
    for secret in items(holder, "/imagePullSecrets") {
        let name = text(secret, "name");
        out.maybe(SECRET, name, secret, format!("{field}{dot}imagePullSecrets[{}]", name.unwrap_or_default()));
    }
}

fn volume(volume: &Value, field: &str, out: &mut Collector<'_>) {
    source(volume, "secretName", field, out);
    if let Some(claim) = volume.get("persistentVolumeClaim") {
        let kind = ("", "PersistentVolumeClaim");
        out.local(kind, None, text(claim, "claimName"), format!("{field}.persistentVolumeClaim.claimName"));
    }
    for projected in items(volume, "/projected/sources") {
        source(projected, "name", &format!("{field}.projected.sources[]"), out);
    }
}

/// Notes the ConfigMap or Secret of a volume source; a volume and a projection name the Secret with different keys.
fn source(holder: &Value, secret_key: &str, field: &str, out: &mut Collector<'_>) {
    if let Some(map) = holder.get("configMap") {
        out.maybe(CONFIG_MAP, text(map, "name"), map, format!("{field}.configMap.name"));
    }
    if let Some(secret) = holder.get("secret") {
        out.maybe(SECRET, text(secret, secret_key), secret, format!("{field}.secret.{secret_key}"));
    }
}

fn environment(container: &Value, field: &str, out: &mut Collector<'_>) {
    for from in items(container, "/envFrom") {
        for (key, kind) in [("configMapRef", CONFIG_MAP), ("secretRef", SECRET)] {
            if let Some(reference) = from.get(key) {
                out.maybe(kind, text(reference, "name"), reference, format!("{field}.envFrom[].{key}.name"));
            }
        }
    }
    for variable in items(container, "/env") {
        for (key, kind) in [("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)] {
            if let Some(reference) = variable.get("valueFrom").and_then(|from| from.get(key)) {
                let name = text(variable, "name").unwrap_or_default();
                out.maybe(kind, text(reference, "name"), reference, format!("{field}.env[{name}].valueFrom.{key}.name"));
            }
        }
    }
}
