use std::collections::{BTreeMap, BTreeSet, HashMap};

use provision_model::{Action, Change, Desired, DesiredObject, Edge, Finding, Manifest, Observed, Origin, Plan, ResourceId};

use crate::change::{Notes, decide};
use crate::context::{Context, State};
use crate::edges::{Link, Node, Ordered, order, order_deletions, rank};
use crate::leaving::{Contents, Leaving, declared, still_needed};
use crate::{PlanError, served};

/// What the person who runs it allows, and what was looked at for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Most objects that may be deleted; the policy's number when `None`.
    pub allow_deletes: Option<usize>,
    /// Whether an empty rendered set may delete everything.
    pub allow_empty: bool,
    /// What is in the namespaces that would be deleted; see [`leaving_namespaces`](crate::leaving_namespaces).
    pub contents: Contents,
}

/// Computes the changes that turn `observed` into `desired`, without any allowance.
///
/// Pure: equal inputs give equal plans. A plan with a fatal finding must not be applied.
///
/// # Errors
/// [`PlanError`] when the input can't be carried out at all, or the answers for [`needs_prediction`] are missing.
pub fn plan(desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
    plan_with(desired, observed, &PlanOptions::default())
}

/// Computes the changes that turn `observed` into `desired`, as [`plan`] does, with what `options` allow.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(desired: &Desired, observed: &Observed, options: &PlanOptions) -> Result<Plan, PlanError> {
    refuse_duplicates(desired)?;
    let nodes = wanted_nodes(desired);
    let ordered = order(&nodes).map_err(|cycle| PlanError::Cycle(edges_of(cycle, &nodes)))?;

    let cx = Context::new(desired, observed);
    let mut notes = Notes::default();
    let mut changes: BTreeMap<ResourceId, Change> =
        desired.objects.iter().map(|object| decide(&cx, object, &mut notes)).map(|change| (change.id.clone(), change)).collect();
    if !notes.not_predicted.is_empty() {
        return Err(PlanError::NotPredicted(notes.not_predicted));
    }

    let mut findings = desired.findings.clone();
    findings.append(&mut notes.findings);
    findings.extend(served::check(desired, &observed.api));
    let leaving = Leaving::new(desired, observed, &options.contents).changes(&mut findings);
    findings.extend(unmet(desired, observed, &changes));
    findings.extend(blast_radius(desired, observed, &leaving, options));
    let deleted: BTreeSet<&ResourceId> = leaving.iter().filter(|change| change.action == Action::Delete).map(|change| &change.id).collect();
    findings.extend(still_needed(&nodes, &deleted, observed));

    let mut plan = Plan {
        environment: desired.environment.clone(),
        region: desired.region.clone(),
        release: desired.release.clone(),
        cluster: observed.cluster.clone(),
        base_generation: observed.generation,
        changes: Vec::with_capacity(changes.len() + leaving.len()),
        edges: Vec::new(),
        dropped: Vec::new(),
        findings,
        desired: desired.clone(),
    };
    append(&mut plan, ordered, &nodes, |id| changes.remove(id));
    append_leaving(&mut plan, observed, leaving);
    Ok(plan)
}

/// Lists what the API server must be asked about before [`plan`]: exactly what would be sent for live objects whose rendering is not the
/// recorded one. Objects that are not there yet, or rendered as recorded, cost no request.
pub fn needs_prediction(desired: &Desired, observed: &Observed) -> Vec<Manifest> {
    let cx = Context::new(desired, observed);
    let ask = |object: &DesiredObject| {
        let digest = object.manifest.digest();
        match cx.state(object, &digest) {
            State::Ask(question) if cx.can_ask(object) => Some(cx.sent(object, &digest, Some(question.live))),
            _ => None,
        }
    };
    desired.objects.iter().filter_map(ask).collect()
}

/// Appends the deletions of a plan, in their order.
pub(crate) fn append_leaving(plan: &mut Plan, observed: &Observed, leaving: Vec<Change>) {
    let ids: Vec<&ResourceId> = leaving.iter().map(|change| &change.id).collect();
    let mut nodes: Vec<Node<'_>> = ids
        .iter()
        .filter_map(|id| {
            let recorded = observed.recorded.get(id)?;
            let id = (*id).clone();
            Some(Node { manifest: &recorded.rendered, declared: declared(&id, recorded, &ids), id, origin: &recorded.origin })
        })
        .collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(rank(&node.id.kind)));
    let ordered = order_deletions(&nodes);
    let mut changes: HashMap<ResourceId, Change> = leaving.iter().map(|change| (change.id.clone(), change.clone())).collect();
    append(plan, ordered, &nodes, |id| changes.remove(id));
}

fn append(plan: &mut Plan, ordered: Ordered, nodes: &[Node<'_>], mut take: impl FnMut(&ResourceId) -> Option<Change>) {
    let in_order = ordered.order.iter().filter_map(|number| nodes.get(*number as usize));
    plan.changes.extend(in_order.filter_map(|node| take(&node.id)));
    plan.edges.extend(edges_of(ordered.links, nodes));
    plan.dropped.extend(edges_of(ordered.dropped, nodes));
}

fn edges_of(links: Vec<Link>, nodes: &[Node<'_>]) -> Vec<Edge> {
    let edge = |link: Link| {
        let (before, after) = (nodes.get(link.before as usize)?.id.clone(), nodes.get(link.after as usize)?.id.clone());
        Some(Edge { before, after, reason: link.reason, origin: link.origin })
    };
    links.into_iter().filter_map(edge).collect()
}

fn wanted_nodes(desired: &Desired) -> Vec<Node<'_>> {
    let declared = |object: &DesiredObject| -> Vec<(ResourceId, Origin)> {
        object.depends_on.iter().map(|dependency| (dependency.target.clone(), dependency.origin.clone())).collect()
    };
    let mut nodes: Vec<Node<'_>> = desired
        .objects
        .iter()
        .map(|object| Node { manifest: &object.manifest, id: object.id(), origin: &object.origin, declared: declared(object) })
        .collect();
    nodes.sort_by_key(|node| rank(&node.id.kind));
    nodes
}

fn refuse_duplicates(desired: &Desired) -> Result<(), PlanError> {
    let mut seen: HashMap<ResourceId, &Origin> = HashMap::with_capacity(desired.objects.len());
    let mut duplicates = Vec::new();
    for object in &desired.objects {
        if let Some(first) = seen.insert(object.id(), &object.origin) {
            duplicates.push((object.id(), first.clone(), object.origin.clone()));
        }
    }
    if duplicates.is_empty() { Ok(()) } else { Err(PlanError::Duplicate(duplicates)) }
}

/// Finds declared dependencies that are neither wanted nor live. What is live and deleted is reported elsewhere.
fn unmet(desired: &Desired, observed: &Observed, wanted: &BTreeMap<ResourceId, Change>) -> Vec<Finding> {
    let known = |id: &ResourceId| wanted.contains_key(id) || observed.live.contains_key(id);
    let mut findings = Vec::new();
    for object in &desired.objects {
        for dependency in object.depends_on.iter().filter(|dependency| !known(&dependency.target)) {
            let message = format!("{} depends on {}, which is neither rendered nor in the cluster", object.id(), dependency.target);
            findings.push(Finding::fatal("unknown-dependency", message).on(object.id()).at(dependency.origin.clone()));
        }
    }
    findings
}

fn blast_radius(desired: &Desired, observed: &Observed, leaving: &[Change], options: &PlanOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    if desired.objects.is_empty() && !options.allow_empty {
        let message = format!("nothing is rendered, and {} objects are recorded", observed.recorded.len());
        findings.push(Finding::fatal("empty-set", message).help("use `provision down` to delete everything"));
    }
    let deletes = leaving.iter().filter(|change| change.action == Action::Delete).count();
    let allowed = options.allow_deletes.unwrap_or(desired.policy.max_deletes);
    if deletes > allowed {
        let message = format!("{deletes} objects would be deleted; at most {allowed} may be");
        findings.push(Finding::fatal("too-many-deletes", message).help(format!("allow it with `--allow-deletes {deletes}`")));
    }
    findings
}
