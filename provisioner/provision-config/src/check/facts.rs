mod network;
mod pod;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use provision_model::{Finding, Manifest, Origin, secret_references};
use serde_json::Value as Json;

use super::Catalog;
use crate::pointer::escape;
use crate::{SchemaFinding, SchemaSubject};

/// What an object needs of another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference {
    /// JSON pointer of the field that names it.
    pub(crate) pointer: String,
    pub(crate) target: Target,
    /// Whether it may be missing.
    pub(crate) optional: bool,
}

/// How an object names another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// By kind, namespace (`None` for the whole cluster) and name.
    Named { group: String, kind: String, namespace: Option<String>, name: String },
    /// A key inside a ConfigMap or Secret of the same namespace.
    Key { kind: &'static str, name: String, key: String },
    /// Pods of the same namespace by labels; a warning only when not strict.
    Pods { labels: BTreeMap<String, String>, strict: bool },
    /// A port of a Service.
    ServicePort { service: String, namespace: Option<String>, port: Json },
    /// A named port of the pods that a Service selects.
    PodPort { labels: BTreeMap<String, String>, port: PortName },
}

/// A named port of a container, with its protocol; both must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortName {
    pub(crate) name: String,
    pub(crate) protocol: String,
}

impl PortName {
    fn of(name: &str, port: &Json) -> Self {
        let protocol = port.get("protocol").and_then(Json::as_str).unwrap_or("TCP");
        Self { name: name.to_owned(), protocol: protocol.to_owned() }
    }
}

/// What an object is and needs, read once when it is rendered.
/// Two objects with equal facts look alike to all others: no reference to them holds for one only.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// Number that stands for its identity and for what others may name inside of it.
    exposed: u64,
    /// Whether it is a CustomResourceDefinition.
    pub(crate) definition: bool,
    pub(crate) references: Vec<Reference>,
    /// Labels of the pods that it makes.
    pub(crate) pods: Option<BTreeMap<String, String>>,
    /// Named ports of their containers.
    pub(crate) ports: Vec<PortName>,
    /// Secrets that something else makes because of it.
    pub(crate) makes_secrets: Vec<String>,
    /// Images of its containers with their pointers.
    pub(crate) images: Vec<(String, String)>,
    /// Mounts whose volume the pod itself does not have.
    mounts: Vec<(String, String)>,
    /// What its schema says.
    pub(crate) schema: Vec<SchemaFinding>,
    /// What is wrong with it alone.
    pub(crate) problems: Vec<(String, Finding)>,
}

impl Facts {
    /// Reads an object.
    pub(crate) fn of(manifest: &Manifest, origin: &Origin, catalog: &Catalog) -> Self {
        let mut facts = Self {
            exposed: exposed(manifest),
            definition: manifest.kind() == super::DEFINITION,
            schema: catalog.schemas.check(&[SchemaSubject { manifest, origin }]),
            ..Self::default()
        };
        facts.secrets(manifest);
        facts.namespace(manifest, catalog);
        let kind = manifest.kind().to_owned();
        let namespace = manifest.namespace().map(str::to_owned);
        match (manifest.group_kind().group.as_str(), kind.as_str()) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
                facts.pod_template(manifest, "/spec/template");
                facts.named(manifest, "/spec/serviceName", ("", "Service"), namespace.as_deref());
                facts.own_selector(manifest);
            }
            ("batch", "CronJob") => facts.pod_template(manifest, "/spec/jobTemplate/spec/template"),
            ("", "Pod") => {
                facts.pod(manifest.value(), "");
                facts.mounts_without_volume(&[]);
            }
            ("", "Service") => facts.service(manifest),
            ("autoscaling", "HorizontalPodAutoscaler") => {
                let text = |field: &str| manifest.text(&format!("/spec/scaleTargetRef/{field}")).unwrap_or_default().to_owned();
                let group = text("apiVersion").rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
                facts.target("/spec/scaleTargetRef/name", (&group, &text("kind")), namespace.as_deref(), &text("name"));
            }
            ("policy", "PodDisruptionBudget") => {
                facts.selector(manifest.value().pointer("/spec/selector/matchLabels"), "/spec/selector", false)
            }
            ("networking.k8s.io", "NetworkPolicy") => {
                facts.selector(manifest.value().pointer("/spec/podSelector/matchLabels"), "/spec/podSelector", false);
            }
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => facts.binding(manifest),
            ("networking.k8s.io", "Ingress") => facts.ingress(manifest),
            ("gateway.networking.k8s.io", "Gateway") => facts.gateway(manifest),
            ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => facts.route(manifest),
            ("external-secrets.io", "ExternalSecret") => {
                facts.makes_secrets.push(manifest.text("/spec/target/name").unwrap_or(manifest.name()).to_owned());
                let store = manifest.text("/spec/secretStoreRef/kind").unwrap_or("SecretStore").to_owned();
                facts.named(manifest, "/spec/secretStoreRef/name", ("external-secrets.io", &store), namespace.as_deref());
            }
            ("cert-manager.io", "Certificate") => facts.makes_secrets.extend(manifest.text("/spec/secretName").map(str::to_owned)),
            _ => {}
        }
        facts
    }

    fn secrets(&mut self, manifest: &Manifest) {
        let is_secret = manifest.kind() == "Secret" && manifest.api_version() == "v1";
        for (pointer, _) in secret_references(manifest.value()) {
            let inside = pointer.strip_prefix("/data/").is_some_and(|key| !key.contains('/'));
            if !(is_secret && inside) {
                let help = "read the Secret from there: `valueFrom.secretKeyRef`, a volume, or `imagePullSecrets`";
                let message = "a secret value may stand only under `data` of a Secret";
                // The schema would say of the same field that a map is no text.
                self.schema.retain(|found| found.field.as_ref().is_none_or(|field| super::pointer(field) != pointer));
                self.problems.push((pointer, Finding::fatal("secret-sink", message).help(help)));
            }
        }
    }

    fn namespace(&mut self, manifest: &Manifest, catalog: &Catalog) {
        let namespaced = catalog.namespaced(manifest);
        match manifest.namespace() {
            // The schema check says that a namespace is too much.
            Some(_) if namespaced == Some(false) => {}
            Some(namespace) => self.target("/metadata/namespace", ("", "Namespace"), None, namespace),
            None if namespaced == Some(true) => {
                let message = format!("a {} needs `metadata.namespace`", manifest.kind());
                self.problems.push(("/metadata".to_owned(), Finding::fatal("missing-namespace", message)));
            }
            None => {}
        }
    }

    pub(super) fn target(&mut self, pointer: &str, (group, kind): (&str, &str), namespace: Option<&str>, name: &str) {
        if name.is_empty() {
            return;
        }
        let namespace = namespace.filter(|_| !super::is_cluster_scoped(kind)).map(str::to_owned);
        let target = Target::Named { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() };
        self.references.push(Reference { pointer: pointer.to_owned(), target, optional: false });
    }

    fn named(&mut self, manifest: &Manifest, pointer: &str, kind: (&str, &str), namespace: Option<&str>) {
        if let Some(name) = manifest.text(pointer) {
            self.target(pointer, kind, namespace, name);
        }
    }

    fn selector(&mut self, labels: Option<&Json>, pointer: &str, strict: bool) {
        let labels = labels.map(labels_of).unwrap_or_default();
        if !labels.is_empty() {
            self.references.push(Reference { pointer: pointer.to_owned(), target: Target::Pods { labels, strict }, optional: false });
        }
    }

    /// A workload that does not select its own pods is refused by the API server.
    fn own_selector(&mut self, manifest: &Manifest) {
        let wanted = manifest.value().pointer("/spec/selector/matchLabels").map(labels_of).unwrap_or_default();
        let Some(labels) = &self.pods else { return };
        if wanted.iter().any(|(key, value)| labels.get(key) != Some(value)) {
            let message = "the selector does not match the labels of the pod template";
            self.problems.push(("/spec/selector".to_owned(), Finding::fatal("selector-mismatch", message)));
        }
    }

    fn pod_template(&mut self, manifest: &Manifest, pointer: &str) {
        let Some(template) = manifest.value().pointer(pointer) else { return };
        self.pod(template, pointer);
        let mut claims = Vec::new();
        for (pointer, claim) in manifest.value().get("spec").map(|spec| items(spec, "volumeClaimTemplates", "/spec")).unwrap_or_default() {
            self.storage_class(claim, &pointer);
            claims.extend(claim.pointer("/metadata/name").and_then(Json::as_str).map(str::to_owned));
        }
        self.mounts_without_volume(&claims);
    }

    pub(super) fn storage_class(&mut self, claim: &Json, pointer: &str) {
        if let Some(class) = claim.pointer("/spec/storageClassName").and_then(Json::as_str) {
            self.target(&format!("{pointer}/spec/storageClassName"), ("storage.k8s.io", "StorageClass"), None, class);
        }
    }
}

/// Computes a number from identity, keys of data and ports; equal for equal input in one run of the program.
fn exposed(manifest: &Manifest) -> u64 {
    let mut hasher = DefaultHasher::new();
    super::key(manifest).hash(&mut hasher);
    for field in ["data", "stringData", "binaryData"] {
        let map = manifest.value().get(field).and_then(Json::as_object);
        map.into_iter().flatten().for_each(|(key, _)| key.hash(&mut hasher));
    }
    if manifest.kind() == "Service" {
        manifest.value().get("spec").and_then(|spec| spec.get("ports")).map(Json::to_string).hash(&mut hasher);
    }
    hasher.finish()
}

/// Reads a map of labels.
pub(super) fn labels_of(value: &Json) -> BTreeMap<String, String> {
    let map = value.as_object().into_iter().flatten();
    map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Walks the items of a list with their pointers.
pub(super) fn items<'v>(value: &'v Json, field: &str, pointer: &str) -> Vec<(String, &'v Json)> {
    let list = value.get(field).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().map(|(place, item)| (format!("{pointer}/{}/{place}", escape(field)), item)).collect()
}
