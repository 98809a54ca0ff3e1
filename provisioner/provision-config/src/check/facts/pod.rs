use provision_model::Finding;
use serde_json::Value as Json;

use super::{Facts, PortName, Reference, Target, items, labels_of};

impl Facts {
    /// Reads a pod or pod template: labels, images and everything that it names.
    pub(super) fn pod(&mut self, pod: &Json, pointer: &str) {
        let labels = pod.pointer("/metadata/labels").map(labels_of).unwrap_or_default();
        let Some(spec) = pod.get("spec") else { return };
        let base = format!("{pointer}/spec");
        for list in ["initContainers", "containers"] {
            for (place, container) in items(spec, list, &base) {
                self.container(container, &place, spec);
            }
        }
        self.pods = Some(labels);
        for (place, volume) in items(spec, "volumes", &base) {
            self.volume(volume, &place);
        }
        for (field, group, kind) in
            [("serviceAccountName", "", "ServiceAccount"), ("priorityClassName", "scheduling.k8s.io", "PriorityClass")]
        {
            let name = spec.get(field).and_then(Json::as_str).filter(|name| *name != "default" && !name.starts_with("system-"));
            self.local(&format!("{base}/{field}"), (group, kind), name, false);
        }
        for (place, secret) in items(spec, "imagePullSecrets", &base) {
            self.local(&format!("{place}/name"), ("", "Secret"), secret.get("name").and_then(Json::as_str), false);
        }
    }

    fn container(&mut self, container: &Json, pointer: &str, spec: &Json) {
        if let Some(image) = container.get("image").and_then(Json::as_str) {
            self.images.push((format!("{pointer}/image"), image.to_owned()));
        }
        for (_, port) in items(container, "ports", pointer) {
            self.ports.extend(port.get("name").and_then(Json::as_str).map(|name| PortName::of(name, port)));
        }
        for (place, source) in items(container, "envFrom", pointer) {
            for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                let Some(reference) = source.get(field) else { continue };
                self.local(&format!("{place}/{field}/name"), ("", kind), reference.get("name").and_then(Json::as_str), optional(reference));
            }
        }
        for (place, variable) in items(container, "env", pointer) {
            for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                let Some(reference) = variable.pointer(&format!("/valueFrom/{field}")) else { continue };
                let text = |name: &str| reference.get(name).and_then(Json::as_str).map(str::to_owned);
                let at = format!("{place}/valueFrom/{field}");
                self.local(&format!("{at}/name"), ("", kind), text("name").as_deref(), optional(reference));
                if let (Some(name), Some(key)) = (text("name"), text("key")) {
                    let target = Target::Key { kind, name, key };
                    self.references.push(Reference { pointer: format!("{at}/key"), target, optional: optional(reference) });
                }
            }
        }
        let known =
            |name: &str| items(spec, "volumes", "").iter().any(|(_, volume)| volume.get("name").and_then(Json::as_str) == Some(name));
        for (place, mount) in items(container, "volumeMounts", pointer) {
            let name = mount.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
            if !known(&name) {
                self.mounts.push((format!("{place}/name"), name));
            }
        }
    }

    /// Reports mounts of volumes that neither the pod nor a claim template has.
    pub(super) fn mounts_without_volume(&mut self, claims: &[String]) {
        for (pointer, name) in std::mem::take(&mut self.mounts) {
            if !claims.contains(&name) {
                self.problems.push((pointer, Finding::fatal("dangling-reference", format!("the pod has no volume `{name}`"))));
            }
        }
    }

    fn volume(&mut self, volume: &Json, pointer: &str) {
        for (field, name, kind) in [
            ("configMap", "name", "ConfigMap"),
            ("secret", "secretName", "Secret"),
            ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
        ] {
            let Some(source) = volume.get(field) else { continue };
            self.local(&format!("{pointer}/{field}/{name}"), ("", kind), source.get(name).and_then(Json::as_str), optional(source));
        }
        if let Some(projected) = volume.get("projected") {
            for (place, source) in items(projected, "sources", &format!("{pointer}/projected")) {
                for (field, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
                    let Some(source) = source.get(field) else { continue };
                    self.local(&format!("{place}/{field}/name"), ("", kind), source.get("name").and_then(Json::as_str), optional(source));
                }
            }
        }
        if let Some(claim) = volume.pointer("/ephemeral/volumeClaimTemplate") {
            self.storage_class(claim, &format!("{pointer}/ephemeral/volumeClaimTemplate"));
        }
    }

    /// Notes a reference inside the namespace of the object itself.
    fn local(&mut self, pointer: &str, kind: (&str, &str), name: Option<&str>, optional: bool) {
        let before = self.references.len();
        self.target(pointer, kind, Some(""), name.unwrap_or_default());
        for reference in &mut self.references[before..] {
            reference.optional = optional;
        }
    }
}

fn optional(reference: &Json) -> bool {
    reference.get("optional") == Some(&Json::Bool(true))
}
