use std::collections::{BTreeMap, HashMap, HashSet};

use provision_model::{DesiredObject, Finding, ResourceId, Severity};
use serde_json::Value as Json;

use super::facts::{Facts, PortName, Reference, Target};
use super::{Key, Problem, Set, group_of, is_cluster_scoped};
use crate::Environment;
use crate::suggest::{listed, nearest};

/// Kinds that clusters usually bring; a missing one is only worth a warning.
const USUALLY_PROVIDED: [&str; 10] = [
    "Namespace",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "GatewayClass",
    "ClusterIssuer",
    "Issuer",
    "ClusterSecretStore",
    "SecretStore",
    "ClusterRole",
];

/// Checks that everything that objects name is in the set or provided by the cluster.
pub(super) fn check(set: &Set<'_>, environment: &Environment, problems: &mut Vec<Problem>) {
    let (world, unreadable) = World::new(set, environment);
    problems.extend(unreadable.into_iter().map(|finding| Problem { object: None, pointer: None, finding, shared: false }));
    for (place, (object, facts)) in set.objects.iter().zip(set.facts).enumerate() {
        for reference in facts.references.iter().filter(|reference| !reference.optional) {
            if let Some(finding) = world.check(set.keys[place].2, reference) {
                let pointer = Some(reference.pointer.clone());
                problems.push(Problem { object: Some(place), pointer, finding: finding.on(object.id()), shared: true });
            }
        }
        for dependency in &object.depends_on {
            let target = &dependency.target;
            let (kind, namespace) = (target.kind.kind.as_str(), target.namespace.as_deref().unwrap_or_default());
            if !set.index.contains_key(&(target.kind.group.as_str(), kind, namespace, target.name.as_str()))
                && !world.provided.contains(target)
            {
                let names = set.index.keys().filter(|(_, other, _, _)| *other == kind).map(|(_, _, _, name)| *name);
                let mut finding = Finding::fatal("dangling-reference", format!("{target} is depended on, but not rendered"));
                finding.help = nearest(&target.name, names).map(|near| format!("did you mean `{near}`?"));
                let finding = finding.on(object.id()).at(dependency.origin.clone());
                problems.push(Problem { object: Some(place), pointer: None, finding, shared: true });
            }
        }
    }
}

type Labels = BTreeMap<String, String>;

struct World<'w> {
    objects: &'w [DesiredObject],
    index: &'w HashMap<Key<'w>, usize>,
    /// What makes pods, by namespace and each label of the pods.
    pods: HashMap<(&'w str, &'w str, &'w str), Vec<&'w Facts>>,
    /// Secrets that others make, by namespace and name.
    made: HashSet<(&'w str, &'w str)>,
    provided: HashSet<ResourceId>,
}

impl<'w> World<'w> {
    /// Gathers what there is; the findings name what `provided.objects` says and can't be read.
    fn new(set: &Set<'w>, environment: &Environment) -> (Self, Vec<Finding>) {
        let mut pods: HashMap<(&str, &str, &str), Vec<&Facts>> = HashMap::new();
        let mut made = HashSet::new();
        for (own, facts) in set.keys.iter().zip(set.facts) {
            let namespace = own.2;
            for (key, value) in facts.pods.iter().flatten() {
                pods.entry((namespace, key, value)).or_default().push(*facts);
            }
            made.extend(facts.makes_secrets.iter().map(|name| (namespace, name.as_str())));
        }
        let home = &environment.settings.platform.namespace;
        let (mut known, mut unreadable) = (HashSet::new(), Vec::new());
        for (at, text) in environment.settings.provided.objects.iter().enumerate() {
            match provided(text, home) {
                Some(id) => {
                    known.insert(id);
                }
                None => {
                    let mut finding = Finding::fatal("bad-object", format!("`{text}` names no object"));
                    finding.origins.extend(environment.origin_of(&format!("provided.objects[{at}]")));
                    unreadable.push(finding.help("write `Kind/name`, `Kind/namespace/name` or `Kind.group/namespace/name`"));
                }
            }
        }
        (Self { objects: set.objects, index: set.index, pods, made, provided: known }, unreadable)
    }

    fn check(&self, own: &str, reference: &Reference) -> Option<Finding> {
        match &reference.target {
            Target::Named { group, kind, namespace, name } => {
                // An empty namespace stands for the object's own.
                let namespace = namespace.as_deref().map(|namespace| if namespace.is_empty() { own } else { namespace });
                self.named(group, kind, namespace, name)
            }
            Target::Key { kind, name, key } => self.key(kind, own, name, key),
            Target::Pods { labels, strict } => self.pods(labels, own, *strict),
            Target::ServicePort { service, namespace, port } => self.port(namespace.as_deref().unwrap_or(own), service, port),
            Target::PodPort { labels, port } => self.pod_port(labels, own, port),
        }
    }

    fn named(&self, group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Finding> {
        let key = (group, kind, namespace.unwrap_or_default(), name);
        let made = kind == "Secret" && self.made.contains(&(key.2, name));
        let built_in = kind == "Namespace" && matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease");
        if made || built_in || self.index.contains_key(&key) {
            return None;
        }
        let id = match namespace {
            Some(namespace) => ResourceId::namespaced(group, kind, namespace, name),
            None => ResourceId::cluster(group, kind, name),
        };
        if self.provided.contains(&id) {
            return None;
        }
        let others = self.index.keys().filter(|other| (other.0, other.1, other.2) == (key.0, key.1, key.2)).map(|other| other.3);
        let near = nearest(name, others).map(|near| format!("did you mean `{near}`? "));
        let severity = if USUALLY_PROVIDED.contains(&kind) { Severity::Warning } else { Severity::Fatal };
        let finding = Finding::new(severity, "dangling-reference", format!("{id} is neither rendered nor provided by the cluster"));
        Some(finding.help(format!("{}if the cluster has it, list `{id}` under `provided.objects`", near.unwrap_or_default())))
    }

    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&DesiredObject> {
        self.index.get(&("", kind, namespace, name)).map(|place| &self.objects[*place])
    }

    fn key(&self, kind: &str, namespace: &str, name: &str, key: &str) -> Option<Finding> {
        let object = self.find(kind, namespace, name)?;
        let keys = |field: &str| {
            object.manifest.value().get(field).and_then(Json::as_object).into_iter().flat_map(|map| map.keys().map(String::as_str))
        };
        let all: Vec<&str> = keys("data").chain(keys("stringData")).chain(keys("binaryData")).collect();
        if all.contains(&key) {
            return None;
        }
        let mut finding = Finding::fatal("dangling-reference", format!("{} has no key `{key}`", object.id()));
        finding.help = nearest(key, all).map(|near| format!("did you mean `{near}`?"));
        Some(finding)
    }

    /// Walks what makes pods with all of these labels.
    fn selected<'s>(&'s self, labels: &'s Labels, namespace: &'s str) -> impl Iterator<Item = &'w Facts> + 's {
        let first = labels.first_key_value().and_then(|(key, value)| self.pods.get(&(namespace, key.as_str(), value.as_str())));
        let fits = |facts: &&&'w Facts| facts.pods.iter().all(|own| labels.iter().all(|(key, value)| own.get(key) == Some(value)));
        first.into_iter().flatten().filter(fits).copied()
    }

    fn pods(&self, labels: &Labels, namespace: &str, strict: bool) -> Option<Finding> {
        if self.selected(labels, namespace).next().is_some() {
            return None;
        }
        let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let severity = if strict { Severity::Fatal } else { Severity::Warning };
        let message = format!("no pod of the set in `{namespace}` has the labels {}", text.join(", "));
        let others = |key: &str| {
            self.pods.keys().filter(move |other| other.0 == namespace && other.1 == key).map(|other| other.2).collect::<Vec<_>>()
        };
        let near = labels.iter().find_map(|(key, value)| nearest(value, others(key)));
        let mut finding = Finding::new(severity, "dangling-reference", message);
        finding.help = near.map(|near| format!("did you mean `{near}`?"));
        Some(finding)
    }

    /// Checks that a selected pod has the port; when no pod is selected at all, the selector's own finding says so.
    fn pod_port(&self, labels: &Labels, namespace: &str, port: &PortName) -> Option<Finding> {
        self.selected(labels, namespace).next()?;
        let known = || self.selected(labels, namespace).flat_map(|facts| &facts.ports);
        if known().any(|own| own == port) {
            return None;
        }
        let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let PortName { name, protocol } = port;
        let message = format!("no container of the pods with {} in `{namespace}` has a {protocol} port named `{name}`", text.join(", "));
        let near = nearest(name, known().map(|own| own.name.as_str()).filter(|own| own != name));
        let mut finding = Finding::fatal("dangling-reference", message);
        finding.help = Some(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known().next().is_none() => "the containers name no ports".to_owned(),
            None => {
                let list: Vec<String> = known().map(|own| format!("{} ({})", own.name, own.protocol)).collect();
                format!("the containers have {}", listed(list.iter().map(String::as_str)))
            }
        });
        Some(finding)
    }

    fn port(&self, namespace: &str, service: &str, port: &Json) -> Option<Finding> {
        let object = self.find("Service", namespace, service)?;
        let ports = object.manifest.value().pointer("/spec/ports").and_then(Json::as_array)?;
        if ports.iter().any(|own| own.get("port") == Some(port) || own.get("name") == Some(port)) {
            return None;
        }
        let known: Vec<String> = ports.iter().filter_map(|own| own.get("port").map(ToString::to_string)).collect();
        Some(Finding::fatal("dangling-reference", format!("{} has no port {port}; it has {}", object.id(), known.join(", "))))
    }
}

/// Reads `Kind/name` or `Kind/namespace/name`, each with `Kind.group` too.
fn provided(text: &str, home: &str) -> Option<ResourceId> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, home, *name),
        [kind, namespace, name] => (*kind, *namespace, *name),
        _ => return None,
    };
    let (kind, group) = kind.split_once('.').unwrap_or((kind, group_of(kind)));
    if [kind, namespace, name].contains(&"") {
        return None;
    }
    Some(if is_cluster_scoped(kind) {
        ResourceId::cluster(group, kind, name)
    } else {
        ResourceId::namespaced(group, kind, namespace, name)
    })
}
