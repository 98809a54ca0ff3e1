use provision_model::Manifest;
use serde_json::Value as Json;

use super::{Facts, PortName, Reference, Target, items, labels_of};

impl Facts {
    pub(super) fn service(&mut self, manifest: &Manifest) {
        let Some(spec) = manifest.value().get("spec") else { return };
        self.selector(spec.get("selector"), "/spec/selector", true);
        let labels = spec.get("selector").map(labels_of).unwrap_or_default();
        for (at, port) in items(spec, "ports", "/spec") {
            // A port by number needs no container that declares it.
            if let Some(name) = port.get("targetPort").and_then(Json::as_str)
                && !labels.is_empty()
            {
                let target = Target::PodPort { labels: labels.clone(), port: PortName::of(name, port) };
                self.references.push(Reference { pointer: format!("{at}/targetPort"), target, optional: false });
            }
        }
    }

    pub(super) fn binding(&mut self, manifest: &Manifest) {
        let kind = manifest.text("/roleRef/kind").unwrap_or_default().to_owned();
        let name = manifest.text("/roleRef/name").unwrap_or_default().to_owned();
        let built_in =
            kind == "ClusterRole" && (matches!(name.as_str(), "admin" | "edit" | "view" | "cluster-admin") || name.starts_with("system:"));
        if !built_in {
            self.target("/roleRef/name", ("rbac.authorization.k8s.io", &kind), manifest.namespace(), &name);
        }
        for (pointer, subject) in items(manifest.value(), "subjects", "") {
            let text = |field: &str| subject.get(field).and_then(Json::as_str);
            if text("kind") == Some("ServiceAccount") && text("name") != Some("default") {
                let namespace = text("namespace").or(manifest.namespace());
                self.target(&format!("{pointer}/name"), ("", "ServiceAccount"), namespace, text("name").unwrap_or_default());
            }
        }
    }

    pub(super) fn ingress(&mut self, manifest: &Manifest) {
        let Some(spec) = manifest.value().get("spec") else { return };
        self.backend(spec.get("defaultBackend"), "/spec/defaultBackend");
        for (rule_at, rule) in items(spec, "rules", "/spec") {
            let Some(http) = rule.get("http") else { continue };
            for (path_at, path) in items(http, "paths", &format!("{rule_at}/http")) {
                self.backend(path.get("backend"), &format!("{path_at}/backend"));
            }
        }
        for (at, tls) in items(spec, "tls", "/spec") {
            self.tls(manifest, tls.get("secretName").and_then(Json::as_str), &format!("{at}/secretName"));
        }
        if let Some(class) = spec.get("ingressClassName").and_then(Json::as_str) {
            self.target("/spec/ingressClassName", ("networking.k8s.io", "IngressClass"), None, class);
        }
    }

    fn backend(&mut self, backend: Option<&Json>, pointer: &str) {
        let Some(service) = backend.and_then(|backend| backend.get("service")) else { return };
        let name = service.get("name").and_then(Json::as_str).unwrap_or_default();
        self.target(&format!("{pointer}/service/name"), ("", "Service"), Some(""), name);
        let port = service.pointer("/port/number").or_else(|| service.pointer("/port/name"));
        if let Some(port) = port {
            self.service_port(format!("{pointer}/service/port"), name, None, port);
        }
    }

    fn service_port(&mut self, pointer: String, service: &str, namespace: Option<&str>, port: &Json) {
        let target = Target::ServicePort { service: service.to_owned(), namespace: namespace.map(str::to_owned), port: port.clone() };
        self.references.push(Reference { pointer, target, optional: false });
    }

    /// A certificate's Secret is made by cert-manager where an annotation asks for it.
    fn tls(&mut self, manifest: &Manifest, secret: Option<&str>, pointer: &str) {
        let Some(secret) = secret else { return };
        if let Some(issuer) = manifest.annotation("cert-manager.io/cluster-issuer").map(str::to_owned) {
            self.makes_secrets.push(secret.to_owned());
            self.target("/metadata/annotations/cert-manager.io~1cluster-issuer", ("cert-manager.io", "ClusterIssuer"), None, &issuer);
        } else if let Some(issuer) = manifest.annotation("cert-manager.io/issuer").map(str::to_owned) {
            self.makes_secrets.push(secret.to_owned());
            self.target("/metadata/annotations/cert-manager.io~1issuer", ("cert-manager.io", "Issuer"), Some(""), &issuer);
        }
        self.target(pointer, ("", "Secret"), Some(""), secret);
    }

    pub(super) fn gateway(&mut self, manifest: &Manifest) {
        let Some(spec) = manifest.value().get("spec") else { return };
        if let Some(class) = spec.get("gatewayClassName").and_then(Json::as_str) {
            self.target("/spec/gatewayClassName", ("gateway.networking.k8s.io", "GatewayClass"), None, class);
        }
        for (at, listener) in items(spec, "listeners", "/spec") {
            let Some(tls) = listener.get("tls") else { continue };
            for (at, certificate) in items(tls, "certificateRefs", &format!("{at}/tls")) {
                if certificate.get("namespace").is_none() {
                    self.tls(manifest, certificate.get("name").and_then(Json::as_str), &format!("{at}/name"));
                }
            }
        }
    }

    pub(super) fn route(&mut self, manifest: &Manifest) {
        let Some(spec) = manifest.value().get("spec") else { return };
        let text = |value: &Json, field: &str| value.get(field).and_then(Json::as_str).map(str::to_owned);
        for (at, parent) in items(spec, "parentRefs", "/spec") {
            let namespace = text(parent, "namespace").unwrap_or_default();
            let kind = text(parent, "kind").unwrap_or_else(|| "Gateway".to_owned());
            let group = text(parent, "group").unwrap_or_else(|| "gateway.networking.k8s.io".to_owned());
            let name = text(parent, "name").unwrap_or_default();
            self.target(&format!("{at}/name"), (&group, &kind), Some(&namespace), &name);
        }
        for (at, rule) in items(spec, "rules", "/spec") {
            for (at, backend) in items(rule, "backendRefs", &at) {
                if text(backend, "kind").is_some_and(|kind| kind != "Service") {
                    continue;
                }
                let (name, namespace) = (text(backend, "name").unwrap_or_default(), text(backend, "namespace"));
                self.target(&format!("{at}/name"), ("", "Service"), Some(namespace.as_deref().unwrap_or("")), &name);
                if let Some(port) = backend.get("port") {
                    self.service_port(format!("{at}/port"), &name, namespace.as_deref(), port);
                }
            }
        }
    }
}
