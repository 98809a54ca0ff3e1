//! What comes before what: declared, by namespace, by definition, by reference and by kind.

use std::collections::{HashMap, HashSet};

use provision_model::{EdgeReason, GroupKind, Manifest, Origin, ResourceId};

use crate::graph::{Graph, Pair, keepable};
use crate::references::{provided_secret, references};
use crate::selectors;

/// One object as the graph sees it.
pub(crate) struct Node<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) id: ResourceId,
    pub(crate) origin: &'a Origin,
    /// What an annotation says must be ready first, and where.
    pub(crate) declared: Vec<(ResourceId, Origin)>,
}

/// An edge between two nodes by their numbers.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) before: u32,
    pub(crate) after: u32,
    pub(crate) reason: EdgeReason,
    pub(crate) origin: Option<Origin>,
    /// Whether a cycle through it is an error; other edges are dropped then.
    pub(crate) mandatory: bool,
}

/// The order of some nodes, and what it rests on.
pub(crate) struct Ordered {
    pub(crate) order: Vec<u32>,
    pub(crate) links: Vec<Link>,
    pub(crate) dropped: Vec<Link>,
}

/// Orders nodes to be written; of those that are free at one time the first comes first.
///
/// # Errors
/// The links of a shortest cycle of mandatory edges.
pub(crate) fn order(nodes: &[Node<'_>]) -> Result<Ordered, Vec<Link>> {
    arrange(nodes.len(), links(nodes))
}

/// Orders nodes to be deleted: an object goes after those that depend on it. Every edge may be dropped here, the strongest last.
pub(crate) fn order_deletions(nodes: &[Node<'_>]) -> Ordered {
    let mut links = links(nodes);
    for link in &mut links {
        (link.before, link.after, link.mandatory) = (link.after, link.before, false);
    }
    arrange(nodes.len(), links).unwrap_or_else(|_| Ordered {
        order: (0..).take(nodes.len()).collect(),
        links: Vec::new(),
        dropped: Vec::new(),
    })
}

fn arrange(nodes: usize, links: Vec<Link>) -> Result<Ordered, Vec<Link>> {
    let (mandatory, optional): (Vec<Link>, Vec<Link>) = links.into_iter().partition(|link| link.mandatory);
    let pairs = |links: &[Link]| -> Vec<Pair> { links.iter().map(|link| (link.before, link.after)).collect() };
    let fixed = pairs(&mandatory);
    if let Some(cycle) = Graph::new(nodes, &fixed).shortest_cycle() {
        return Err(links_of(&cycle, &mandatory));
    }
    let keep = keepable(nodes, &fixed, &pairs(&optional));
    let mut links = mandatory;
    let mut dropped = Vec::new();
    for (link, keep) in optional.into_iter().zip(keep) {
        if keep { links.push(link) } else { dropped.push(link) }
    }
    let order = Graph::new(nodes, &pairs(&links)).order().unwrap_or_default();
    Ok(Ordered { order, links, dropped })
}

fn links_of(cycle: &[u32], links: &[Link]) -> Vec<Link> {
    let next = cycle.iter().cycle().skip(1);
    cycle
        .iter()
        .zip(next)
        .filter_map(|(before, after)| links.iter().find(|link| link.before == *before && link.after == *after).cloned())
        .collect()
}

/// Finds every edge between the nodes, at most one for each pair; the strongest reason stays.
fn links(nodes: &[Node<'_>]) -> Vec<Link> {
    let mut found = Links { seen: HashSet::new(), links: Vec::new() };
    let index = Index::new(nodes);
    for (after, node) in (0..).zip(nodes) {
        for (target, origin) in &node.declared {
            found.push(index.ids.get(target), after, (EdgeReason::Declared, origin), true);
        }
    }
    for (after, node) in (0..).zip(nodes) {
        let namespace = node.id.namespace.as_deref().map(|name| ResourceId::cluster("", "Namespace", name));
        let namespace = namespace.and_then(|id| index.ids.get(&id));
        found.push(namespace, after, (EdgeReason::Namespace, node.origin), true);
        found.push(index.definitions.get(&node.id.kind), after, (EdgeReason::Definition, node.origin), true);
    }
    for (after, node) in (0..).zip(nodes) {
        let mut named = references(node.manifest);
        named.sort_by_key(|reference| reference.optional);
        for reference in named {
            let made_by = index.providers.get(&reference.target).into_iter().flatten();
            for before in index.ids.get(&reference.target).into_iter().chain(made_by) {
                let reason = EdgeReason::Reference { field: reference.field.clone() };
                found.push(Some(before), after, (reason, node.origin), !reference.optional);
            }
        }
    }
    for (before, after, reason) in selectors::default_order(nodes, &index.ids) {
        if let Some(node) = nodes.get(after as usize) {
            found.push(Some(&before), after, (reason, node.origin), false);
        }
    }
    found.links
}

struct Links {
    seen: HashSet<Pair>,
    links: Vec<Link>,
}

impl Links {
    fn push(&mut self, before: Option<&u32>, after: u32, (reason, origin): (EdgeReason, &Origin), mandatory: bool) {
        let Some(&before) = before else { return };
        // Only a person can say that an object waits for itself; a webhook or a policy may well concern its own pods.
        if (before != after || reason == EdgeReason::Declared) && self.seen.insert((before, after)) {
            self.links.push(Link { before, after, reason, origin: Some(origin.clone()), mandatory });
        }
    }
}

struct Index {
    ids: HashMap<ResourceId, u32>,
    /// What makes a Secret, by the Secret.
    providers: HashMap<ResourceId, Vec<u32>>,
    definitions: HashMap<GroupKind, u32>,
}

impl Index {
    fn new(nodes: &[Node<'_>]) -> Self {
        let mut index = Self { ids: HashMap::with_capacity(nodes.len()), providers: HashMap::new(), definitions: HashMap::new() };
        for (number, node) in (0..).zip(nodes) {
            index.ids.insert(node.id.clone(), number);
            if let Some(secret) = provided_secret(node.manifest) {
                index.providers.entry(secret).or_default().push(number);
            }
            if let Some(kind) = defined_kind(node.manifest) {
                index.definitions.insert(kind, number);
            }
        }
        index
    }
}

/// Returns the kind that a CustomResourceDefinition defines.
pub(crate) fn defined_kind(manifest: &Manifest) -> Option<GroupKind> {
    if manifest.group_kind() != GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition") {
        return None;
    }
    Some(GroupKind::new(manifest.text("/spec/group")?, manifest.text("/spec/names/kind")?))
}

/// Returns the place of a kind in the order in which free objects are begun; it decides nothing but the look of the plan.
pub(crate) fn rank(kind: &GroupKind) -> usize {
    const RANKS: [&[&str]; 11] = [
        &["Namespace"],
        &["CustomResourceDefinition", "StorageClass", "PriorityClass", "RuntimeClass", "GatewayClass", "IngressClass"],
        &["ResourceQuota", "LimitRange", "NetworkPolicy"],
        &["ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"],
        &["ConfigMap", "Secret", "SecretStore", "ClusterSecretStore", "ExternalSecret"],
        &["PersistentVolume", "PersistentVolumeClaim", "Service"],
        &["Job"],
        &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "CronJob"],
        &["Gateway", "HTTPRoute", "GRPCRoute", "Ingress"],
        &["HorizontalPodAutoscaler", "PodDisruptionBudget"],
        &["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService"],
    ];
    RANKS.iter().position(|kinds| kinds.contains(&kind.kind.as_str())).unwrap_or(8)
}
