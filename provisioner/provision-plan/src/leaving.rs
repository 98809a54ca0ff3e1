//! Recorded objects that are no longer wanted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use provision_model::{
    Action, Change, Desired, EdgeReason, Finding, GroupKind, Manifest, Observed, Origin, RecordedObject, ResourceId, Severity, annotations,
};

use crate::edges::{Node, defined_kind};
use crate::error::reason_text;
use crate::references::{provided_secret, references};

/// What is in some namespaces: every object that has no owner reference. A namespace that is no key was not looked at.
pub type Contents = BTreeMap<String, Vec<ResourceId>>;

/// Who leaves, and from where.
pub(crate) struct Leaving<'a> {
    pub(crate) observed: &'a Observed,
    /// Release that is planned.
    pub(crate) release: &'a str,
    /// Namespace with the recorded state; it never goes.
    pub(crate) state_namespace: &'a str,
    /// Objects that stay.
    pub(crate) wanted: BTreeSet<ResourceId>,
    /// Secrets that a wanted object makes, with its identity.
    pub(crate) provided: HashMap<ResourceId, ResourceId>,
    pub(crate) contents: &'a Contents,
}

/// Lists the namespaces that planning would delete, so that their contents can be read for [`Contents`]; without `desired`, all recorded ones.
pub fn leaving_namespaces(desired: Option<&Desired>, observed: &Observed) -> Vec<String> {
    let wanted: BTreeSet<ResourceId> = desired.into_iter().flat_map(|desired| &desired.objects).map(|object| object.id()).collect();
    let leaving = observed.recorded.keys().filter(|id| is_namespace(id) && !wanted.contains(id));
    leaving.map(|id| id.name.clone()).collect()
}

impl<'a> Leaving<'a> {
    /// Starts with the objects of `desired` as those that stay.
    pub(crate) fn new(desired: &'a Desired, observed: &'a Observed, contents: &'a Contents) -> Self {
        let provided = desired.objects.iter().filter_map(|object| Some((provided_secret(&object.manifest)?, object.id()))).collect();
        Self {
            observed,
            release: desired.release.as_str(),
            state_namespace: &desired.policy.state_namespace,
            wanted: desired.objects.iter().map(|object| object.id()).collect(),
            provided,
            contents,
        }
    }

    /// Decides for every recorded object that is not wanted, in the order of their identities.
    pub(crate) fn changes(&self, findings: &mut Vec<Finding>) -> Vec<Change> {
        let recorded = self.observed.recorded.iter().filter(|(id, _)| !self.wanted.contains(id));
        recorded.map(|(id, recorded)| self.decide(id, recorded, findings)).collect()
    }

    fn decide(&self, id: &ResourceId, recorded: &RecordedObject, findings: &mut Vec<Finding>) -> Change {
        let live = self.observed.live.get(id);
        let (action, reason) = match live {
            None => (Action::Unchanged, "already gone".to_owned()),
            Some(live) => match self.not_ours(id, recorded, live) {
                Some(reason) => (Action::Unchanged, reason),
                None if recorded.keep => (Action::Release, "kept, as its annotation says".to_owned()),
                None => match self.held(id) {
                    Some(reason) => {
                        findings.push(kept_finding(id, recorded, &reason));
                        (Action::Release, format!("kept: {reason}"))
                    }
                    None => {
                        self.warn_of_losses(id, recorded, findings);
                        (Action::Delete, "no longer wanted".to_owned())
                    }
                },
            },
        };
        Change {
            id: id.clone(),
            action,
            manifest: None,
            live_uid: live.and_then(Manifest::uid).map(str::to_owned),
            diff: Vec::new(),
            reason,
            others: Vec::new(),
            origin: Some(recorded.origin.clone()),
        }
    }

    /// Says why the live object is not what was recorded as ours.
    fn not_ours(&self, id: &ResourceId, recorded: &RecordedObject, live: &Manifest) -> Option<String> {
        let release = live.annotation(annotations::RELEASE);
        if let Some(other) = release.filter(|release| *release != self.release) {
            return Some(format!("belongs to release {other} now"));
        }
        if let Some(provider) = self.provided.get(id) {
            return Some(format!("made by {provider} now"));
        }
        match &recorded.uid {
            None if release.is_none() => Some("was never written".to_owned()),
            Some(uid) if release.is_none() && live.uid() != Some(uid) => Some("made again by someone else".to_owned()),
            None | Some(_) => None,
        }
    }

    /// Says what keeps a namespace from being deleted.
    fn held(&self, id: &ResourceId) -> Option<String> {
        const SYSTEM: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
        if !is_namespace(id) {
            return None;
        }
        if SYSTEM.contains(&id.name.as_str()) {
            return Some("it belongs to the cluster".to_owned());
        }
        if id.name == self.state_namespace {
            return Some("it holds the recorded releases".to_owned());
        }
        let Some(contents) = self.contents.get(&id.name) else { return Some("what is in it is not known".to_owned()) };
        let staying: Vec<&ResourceId> = contents.iter().filter(|id| self.stays(id)).collect();
        match staying.as_slice() {
            [] => None,
            [one] if self.is_kept(one) => Some(format!("it holds {one}, which is kept")),
            [one] => Some(format!("it holds {one}, which is not ours")),
            [first, .., last] => Some(format!("it holds {} objects that stay: {first} ... {last}", staying.len())),
        }
    }

    /// Leaves out what goes too, what every namespace has, and what only shadows other objects.
    fn stays(&self, id: &ResourceId) -> bool {
        const MESH: (&str, &str) = ("ConfigMap", "istio-ca-root-cert");
        const SHADOWS: [&str; 6] = ["Event", "Endpoints", "EndpointSlice", "ControllerRevision", "PodMetrics", "Lease"];
        let goes = self.observed.live.contains_key(id) && self.observed.recorded.get(id).is_some_and(|recorded| self.goes(id, recorded));
        let everywhere = id.is_in_every_namespace() || MESH == (id.kind.kind.as_str(), id.name.as_str());
        !goes && !self.is_claim_of_ours(id) && !everywhere && !SHADOWS.contains(&id.kind.kind.as_str())
    }

    /// Tells whether a recorded object is deleted, or is gone already.
    fn goes(&self, id: &ResourceId, recorded: &RecordedObject) -> bool {
        let ours = |live: &Manifest| self.not_ours(id, recorded, live).is_none();
        !self.wanted.contains(id) && !recorded.keep && self.observed.live.get(id).is_none_or(ours)
    }

    fn is_kept(&self, id: &ResourceId) -> bool {
        self.observed.recorded.get(id).is_some_and(|recorded| recorded.keep)
    }

    /// Tells whether a volume claim was made from a template of a recorded StatefulSet that goes: `template-set-number`.
    fn is_claim_of_ours(&self, id: &ResourceId) -> bool {
        let claim = id.kind == GroupKind::new("", "PersistentVolumeClaim");
        let Some((stem, number)) = id.name.rsplit_once('-').filter(|_| claim) else { return false };
        let sets = self
            .observed
            .recorded
            .iter()
            .filter(|(set, recorded)| set.kind.kind == "StatefulSet" && set.namespace == id.namespace && self.goes(set, recorded));
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && sets.flat_map(|(set, recorded)| claim_stems(set, recorded)).any(|expected| expected == stem)
    }

    fn warn_of_losses(&self, id: &ResourceId, recorded: &RecordedObject, findings: &mut Vec<Finding>) {
        if let Some(kind) = defined_kind(&recorded.rendered) {
            let message = format!("with {id} every {kind} of the cluster is deleted");
            findings.push(Finding::warning("definition-deleted", message).on(id.clone()));
        }
        let contents = self.contents.get(&id.name).filter(|_| is_namespace(id));
        for claim in contents.into_iter().flatten().filter(|content| self.is_claim_of_ours(content)) {
            findings.push(Finding::warning("data-deleted", format!("{claim} and its data go with {id}")).on(claim.clone()));
        }
    }
}

fn claim_stems(set: &ResourceId, recorded: &RecordedObject) -> Vec<String> {
    let templates = recorded.rendered.value().pointer("/spec/volumeClaimTemplates").and_then(serde_json::Value::as_array);
    let names = templates.into_iter().flatten().filter_map(|template| template.pointer("/metadata/name")?.as_str());
    names.map(|name| format!("{name}-{}", set.name)).collect()
}

fn is_namespace(id: &ResourceId) -> bool {
    id.kind == GroupKind::new("", "Namespace")
}

fn kept_finding(id: &ResourceId, recorded: &RecordedObject, reason: &str) -> Finding {
    Finding::new(Severity::Warning, "namespace-kept", format!("{id} is kept: {reason}")).on(id.clone()).at(recorded.origin.clone())
}

/// Finds wanted objects that need one that is deleted.
pub(crate) fn still_needed(nodes: &[Node<'_>], deleted: &BTreeSet<&ResourceId>, observed: &Observed) -> Vec<Finding> {
    let kinds: HashMap<GroupKind, &ResourceId> =
        deleted.iter().filter_map(|id| Some((defined_kind(&observed.recorded.get(id)?.rendered)?, *id))).collect();
    let mut findings = Vec::new();
    for node in nodes {
        for (target, reason) in needs(node, &kinds) {
            if deleted.contains(&target) {
                let message = format!("{target} would be deleted, but {} still needs it ({})", node.id, reason_text(&reason));
                findings.push(Finding::fatal("still-needed", message).on(target).at(node.origin.clone()));
            }
        }
    }
    findings
}

fn needs(node: &Node<'_>, kinds: &HashMap<GroupKind, &ResourceId>) -> Vec<(ResourceId, EdgeReason)> {
    let declared = node.declared.iter().map(|(target, _)| (target.clone(), EdgeReason::Declared));
    let namespace = node.id.namespace.as_deref().map(|name| (ResourceId::cluster("", "Namespace", name), EdgeReason::Namespace));
    let definition = kinds.get(&node.id.kind).map(|id| ((*id).clone(), EdgeReason::Definition));
    let named = references(node.manifest).into_iter().filter(|reference| !reference.optional);
    let named = named.map(|reference| (reference.target, EdgeReason::Reference { field: reference.field }));
    let mut needs: Vec<(ResourceId, EdgeReason)> = declared.chain(namespace).chain(definition).chain(named).collect();
    let mut seen = BTreeSet::new();
    needs.retain(|(target, _)| seen.insert(target.clone()));
    needs
}

/// Reads what a recorded object's annotation says must be there before it; names are matched among the recorded objects.
pub(crate) fn declared(id: &ResourceId, recorded: &RecordedObject, all: &[&ResourceId]) -> Vec<(ResourceId, Origin)> {
    let text = recorded.rendered.annotation(annotations::DEPENDS_ON).unwrap_or_default();
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let found = entries.filter_map(|entry| all.iter().find(|other| is_named(other, entry, id)));
    found.map(|target| ((*target).clone(), recorded.origin.clone())).collect()
}

/// Tells whether `Kind/name`, `Kind/namespace/name` or `Kind.group/...` written at `from` means `id`.
fn is_named(id: &ResourceId, entry: &str, from: &ResourceId) -> bool {
    let mut parts: Vec<&str> = entry.split('/').collect();
    let (Some(name), Some(kind)) = (parts.pop(), (!parts.is_empty()).then(|| parts.remove(0))) else { return false };
    let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
    let namespace = parts.first().copied().or(from.namespace.as_deref());
    id.name == name
        && id.kind.kind == kind
        && group.is_none_or(|group| id.kind.group == group)
        && (id.namespace.is_none() || id.namespace.as_deref() == namespace)
}
