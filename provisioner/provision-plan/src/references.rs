//! The objects that a manifest names: what has to be there before it works.

mod pod;

use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::Value;

pub(crate) use pod::{pod_labels, pod_spec, service_account};

/// One object that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// What is named.
    pub(crate) target: ResourceId,
    /// The field that names it, list items by name: `spec.template.spec.volumes[config].configMap.name`.
    pub(crate) field: String,
    /// Whether the manifest works without it, too.
    pub(crate) optional: bool,
}

/// Collects the references of one manifest.
pub(crate) struct Collector<'m> {
    namespace: Option<&'m str>,
    found: Vec<Reference>,
}

impl Collector<'_> {
    /// Notes a namespaced target, in the manifest's namespace unless `namespace` says another.
    fn local(&mut self, kind: (&str, &str), namespace: Option<&str>, name: Option<&str>, field: String) {
        self.push(kind, namespace.or(self.namespace).map(str::to_owned), name, (field, false));
    }

    /// Notes a cluster-scoped target.
    fn global(&mut self, kind: (&str, &str), name: Option<&str>, field: String) {
        self.push(kind, None, name, (field, false));
    }

    /// Notes a target in the manifest's namespace; `holder` may say `optional: true`.
    fn maybe(&mut self, kind: (&str, &str), name: Option<&str>, holder: &Value, field: String) {
        let optional = holder.get("optional").and_then(Value::as_bool).unwrap_or(false);
        self.push(kind, self.namespace.map(str::to_owned), name, (field, optional));
    }

    fn push(&mut self, kind: (&str, &str), namespace: Option<String>, name: Option<&str>, (field, optional): (String, bool)) {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let target = ResourceId { kind: GroupKind::new(kind.0, kind.1), namespace, name: name.to_owned() };
        self.found.push(Reference { target, field, optional });
    }
}

/// Lists the objects that a manifest names, in the order of its fields.
pub(crate) fn references(manifest: &Manifest) -> Vec<Reference> {
    let mut out = Collector { namespace: manifest.namespace(), found: Vec::new() };
    if let Some((field, spec)) = pod_spec(manifest) {
        pod::collect(spec, field, &mut out);
    }
    let kind = manifest.group_kind();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "StatefulSet") => stateful_set(manifest, &mut out),
        ("", "PersistentVolumeClaim") => claim(manifest.value(), "spec", &mut out),
        ("", "ServiceAccount") => pod::pull_secrets(manifest.value(), "", &mut out),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(manifest, &mut out),
        ("autoscaling", "HorizontalPodAutoscaler") => scale_target(manifest, &mut out),
        ("keda.sh", "ScaledObject") => scale_target(manifest, &mut out),
        ("networking.k8s.io", "Ingress") => ingress(manifest, &mut out),
        ("gateway.networking.k8s.io", "Gateway") => gateway(manifest, &mut out),
        ("gateway.networking.k8s.io", _) => route(manifest, &mut out),
        ("external-secrets.io", "ExternalSecret") => external_secret(manifest, &mut out),
        ("cert-manager.io", "Certificate") => issuer(manifest, &mut out),
        ("admissionregistration.k8s.io", _) => webhooks(manifest, &mut out),
        ("apiregistration.k8s.io", "APIService") => api_service(manifest, &mut out),
        _ => {}
    }
    out.found
}

/// Returns the Secret that an operator makes because of this manifest.
pub(crate) fn provided_secret(manifest: &Manifest) -> Option<ResourceId> {
    let kind = manifest.group_kind();
    let name = match (kind.group.as_str(), kind.kind.as_str()) {
        ("external-secrets.io", "ExternalSecret") => manifest.text("/spec/target/name").unwrap_or(manifest.name()),
        ("cert-manager.io", "Certificate") => manifest.text("/spec/secretName")?,
        ("bitnami.com", "SealedSecret") => manifest.name(),
        _ => return None,
    };
    Some(ResourceId::namespaced("", "Secret", manifest.namespace()?, name))
}

/// Returns what an autoscaler scales.
pub(crate) fn scaled_target(manifest: &Manifest) -> Option<ResourceId> {
    let kind = manifest.group_kind();
    let autoscaler =
        matches!((kind.group.as_str(), kind.kind.as_str()), ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject"));
    let target = manifest.value().pointer("/spec/scaleTargetRef").filter(|_| autoscaler)?;
    let version = target.get("apiVersion").and_then(Value::as_str).unwrap_or("apps/v1");
    let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    Some(ResourceId::namespaced(group, kind, manifest.namespace()?, target.get("name")?.as_str()?))
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn stateful_set(manifest: &Manifest, out: &mut Collector<'_>) {
    out.local(("", "Service"), None, manifest.text("/spec/serviceName"), "spec.serviceName".to_owned());
    for template in items(manifest.value(), "/spec/volumeClaimTemplates") {
        let name = template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        claim(template, &format!("spec.volumeClaimTemplates[{name}].spec"), out);
    }
}

fn claim(claim: &Value, field: &str, out: &mut Collector<'_>) {
    let Some(spec) = claim.get("spec") else { return };
    out.global(("storage.k8s.io", "StorageClass"), text(spec, "storageClassName"), format!("{field}.storageClassName"));
    out.global(("", "PersistentVolume"), text(spec, "volumeName"), format!("{field}.volumeName"));
}

fn binding(manifest: &Manifest, out: &mut Collector<'_>) {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let role = manifest.text("/roleRef/name");
    match manifest.text("/roleRef/kind") {
        Some("Role") => out.local((RBAC, "Role"), None, role, "roleRef".to_owned()),
        _ => out.global((RBAC, "ClusterRole"), role, "roleRef".to_owned()),
    }
    for subject in items(manifest.value(), "/subjects").filter(|subject| text(subject, "kind") == Some("ServiceAccount")) {
        let name = text(subject, "name");
        out.local(("", "ServiceAccount"), text(subject, "namespace"), name, format!("subjects[{}]", name.unwrap_or_default()));
    }
}

fn scale_target(manifest: &Manifest, out: &mut Collector<'_>) {
    if let Some(target) = scaled_target(manifest) {
        out.found.push(Reference { target, field: "spec.scaleTargetRef".to_owned(), optional: false });
    }
}

fn ingress(manifest: &Manifest, out: &mut Collector<'_>) {
    out.global(("networking.k8s.io", "IngressClass"), manifest.text("/spec/ingressClassName"), "spec.ingressClassName".to_owned());
    out.local(("", "Service"), None, manifest.text("/spec/defaultBackend/service/name"), "spec.defaultBackend.service".to_owned());
    for path in items(manifest.value(), "/spec/rules").flat_map(|rule| items(rule, "/http/paths")) {
        let name = path.pointer("/backend/service/name").and_then(Value::as_str);
        out.local(("", "Service"), None, name, "spec.rules[].http.paths[].backend.service".to_owned());
    }
}

fn gateway(manifest: &Manifest, out: &mut Collector<'_>) {
    let class = manifest.text("/spec/gatewayClassName");
    out.global(("gateway.networking.k8s.io", "GatewayClass"), class, "spec.gatewayClassName".to_owned());
}

fn route(manifest: &Manifest, out: &mut Collector<'_>) {
    let mut refer = |reference: &Value, kind: (&str, &str), field: &str| {
        let kind = (text(reference, "group").unwrap_or(kind.0), text(reference, "kind").unwrap_or(kind.1));
        out.local(kind, text(reference, "namespace"), text(reference, "name"), field.to_owned());
    };
    for parent in items(manifest.value(), "/spec/parentRefs") {
        refer(parent, ("gateway.networking.k8s.io", "Gateway"), "spec.parentRefs[]");
    }
    for rule in items(manifest.value(), "/spec/rules") {
        for backend in items(rule, "/backendRefs") {
            refer(backend, ("", "Service"), "spec.rules[].backendRefs[]");
        }
    }
}

fn external_secret(manifest: &Manifest, out: &mut Collector<'_>) {
    const GROUP: &str = "external-secrets.io";
    let (name, field) = (manifest.text("/spec/secretStoreRef/name"), "spec.secretStoreRef".to_owned());
    match manifest.text("/spec/secretStoreRef/kind") {
        Some("ClusterSecretStore") => out.global((GROUP, "ClusterSecretStore"), name, field),
        _ => out.local((GROUP, "SecretStore"), None, name, field),
    }
}

fn issuer(manifest: &Manifest, out: &mut Collector<'_>) {
    const GROUP: &str = "cert-manager.io";
    let (name, field) = (manifest.text("/spec/issuerRef/name"), "spec.issuerRef".to_owned());
    match manifest.text("/spec/issuerRef/kind") {
        Some("ClusterIssuer") => out.global((GROUP, "ClusterIssuer"), name, field),
        _ => out.local((GROUP, "Issuer"), None, name, field),
    }
}

fn webhooks(manifest: &Manifest, out: &mut Collector<'_>) {
    for webhook in items(manifest.value(), "/webhooks") {
        if let Some(service) = webhook.pointer("/clientConfig/service") {
            let field = format!("webhooks[{}].clientConfig.service", text(webhook, "name").unwrap_or_default());
            out.local(("", "Service"), text(service, "namespace"), text(service, "name"), field);
        }
    }
}

fn api_service(manifest: &Manifest, out: &mut Collector<'_>) {
    let (namespace, name) = (manifest.text("/spec/service/namespace"), manifest.text("/spec/service/name"));
    out.local(("", "Service"), namespace, name, "spec.service".to_owned());
}

#[cfg(test)]
mod tests;
