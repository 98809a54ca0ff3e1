//! Which kinds the target serves, and what to write instead of those that it doesn't.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use provision_model::{Finding, Severity};

use super::builtin::BuiltinKind;
use super::crd::Crd;
use super::walk::Root;
use super::{SchemaFinding, SchemaSubject, Schemas, at};
use crate::suggest::{listed, nearest};

/// What is known of a kind.
#[derive(Debug)]
pub(super) enum Lookup<'s> {
    /// The kind has a schema; `remark` is said once for all of its objects.
    Known { root: Root<'s>, remark: Option<Box<Finding>>, crd: Option<&'s Crd<'s>> },
    /// The target doesn't serve the kind, or not in this version.
    NotServed(Box<Finding>),
    /// No definition is known, so nothing can be said of its fields.
    Unknown(Box<Finding>),
    /// The target has no schemas at all, which was said before.
    Unchecked,
}

/// The groups of the built-in kinds.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeSet<String>);

/// Groups that no supported version serves any more; their kinds moved to other groups.
const RETIRED_GROUPS: [&str; 1] = ["extensions"];
/// Built-in kinds that went away for good, and what took their place.
const RETIRED_KINDS: [(&str, &str, &str); 1] = [(
    "policy",
    "PodSecurityPolicy",
    "it was removed in 1.25; use Pod Security Admission: the label `pod-security.kubernetes.io/enforce` on the namespace",
)];

impl Groups {
    pub(super) fn of(kinds: &[BuiltinKind]) -> Self {
        Self(kinds.iter().map(|kind| kind.group.clone()).collect())
    }

    /// Tells whether only Kubernetes itself can serve kinds of the group: its own groups, and any without a dot.
    fn reserved(&self, group: &str) -> bool {
        self.0.contains(group) || !group.contains('.')
    }
}

impl Schemas {
    /// Looks a kind up: built in, then among `own` definitions, then among the known ones.
    pub(super) fn lookup<'s>(&'s self, api_version: &str, kind: &str, own: &'s [Crd<'s>]) -> Lookup<'s> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let same_name = self.builtin.get(kind).map_or(&[][..], Vec::as_slice);
        if let Some(found) = same_name.iter().find(|known| known.group == group && known.version == version) {
            return self.builtin_kind(found, same_name);
        }
        if let Some(crd) = own.iter().chain(&self.crds).find(|crd| crd.group == group && crd.kind == kind) {
            return self.custom_kind(crd, version);
        }
        if self.builtin.is_empty() {
            return Lookup::Unchecked;
        }
        if self.groups.reserved(group) {
            return Lookup::NotServed(Box::new(self.not_built_in((group, version, kind), same_name)));
        }
        Lookup::Unknown(Box::new(self.unknown((group, version, kind), own)))
    }

    fn builtin_kind<'s>(&'s self, found: &'s BuiltinKind, same_name: &[BuiltinKind]) -> Lookup<'s> {
        let root = Root {
            nodes: &self.nodes,
            node: found.node,
            metadata: self.metadata.map(|node| (self.nodes.as_slice(), node)),
            namespaced: found.namespaced,
            status_apart: true,
            spec_filled: true,
        };
        let remark = is_prerelease(&found.version).then(|| {
            let api_version = written(&found.group, &found.version);
            let stable = same_name.iter().find(|other| other.group == found.group && !is_prerelease(&other.version));
            let message = format!("`{api_version}` {} is no stable API: a cluster serves it only when it is switched on", found.kind);
            let finding = Finding::warning("kind-not-served", message);
            Box::new(match stable {
                Some(stable) => finding.help(format!("use `{}`", written(&stable.group, &stable.version))),
                None => finding,
            })
        });
        Lookup::Known { root, remark, crd: None }
    }

    fn custom_kind<'s>(&'s self, crd: &'s Crd<'s>, version: &str) -> Lookup<'s> {
        let compiled = crd.compiled();
        match compiled.version(version).filter(|version| version.served) {
            Some(version) => {
                let root = Root {
                    nodes: &compiled.nodes,
                    node: version.root,
                    metadata: self.metadata.map(|node| (self.nodes.as_slice(), node)),
                    namespaced: compiled.namespaced,
                    status_apart: version.status_apart,
                    spec_filled: false,
                };
                Lookup::Known { root, remark: None, crd: Some(crd) }
            }
            None => {
                let served: Vec<String> = compiled.served().into_iter().map(|version| written(&crd.group, version)).collect();
                let message = format!("`{}` {} is not served, as its definition says", written(&crd.group, version), crd.kind);
                let help = match served.as_slice() {
                    [] => "its definition serves no version at all".to_owned(),
                    served => format!("use {}", listed(served.iter().map(String::as_str))),
                };
                Lookup::NotServed(Box::new(Finding::fatal("kind-not-served", message).help(help)))
            }
        }
    }

    /// Says what is wrong with a kind of a group that only Kubernetes itself can serve.
    fn not_built_in(&self, (group, version, kind): (&str, &str, &str), same_name: &[BuiltinKind]) -> Finding {
        let api_version = written(group, version);
        let not_served = format!("Kubernetes {} does not serve `{api_version}` {kind}", self.target);
        if let Some((_, _, instead)) = RETIRED_KINDS.iter().find(|(retired, name, _)| *retired == group && *name == kind) {
            return Finding::fatal("kind-not-served", not_served).help(*instead);
        }
        let same_group = replacements(same_name.iter().filter(|known| known.group == group));
        let elsewhere = replacements(same_name.iter());
        if !same_group.is_empty() || (RETIRED_GROUPS.contains(&group) && !elsewhere.is_empty()) {
            let known = if same_group.is_empty() { elsewhere } else { same_group };
            return Finding::fatal("kind-not-served", not_served).help(format!("use {}", listed(known.iter().map(String::as_str))));
        }
        let message = format!("there is no kind `{kind}` in `{api_version}` of Kubernetes {}", self.target);
        let near = nearest(
            kind,
            self.builtin.iter().filter(|(_, kinds)| kinds.iter().any(|known| known.group == group)).map(|(name, _)| name.as_str()),
        );
        let help = match near {
            _ if !elsewhere.is_empty() => format!("{kind} is served by {}", listed(elsewhere.iter().map(String::as_str))),
            Some(near) => format!("did you mean `{near}`?"),
            None => "check `apiVersion` and `kind`".to_owned(),
        };
        Finding::fatal("unknown-kind", message).help(help)
    }

    /// Says that no definition is known, and how to give it.
    fn unknown(&self, (group, version, kind): (&str, &str, &str), own: &[Crd<'_>]) -> Finding {
        let message = format!("no schema for `{}` {kind}: its fields are not checked", written(group, version));
        let siblings = own.iter().chain(&self.crds).filter(|crd| crd.group == group).map(|crd| crd.kind.as_str());
        let help = match (nearest(kind, siblings), nearest(group, self.groups.0.iter().map(String::as_str))) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(near)) if self.builtin.get(kind).is_some_and(|known| known.iter().any(|known| known.group == near)) => {
                format!("did you mean the group `{near}`?")
            }
            _ => {
                "give its CustomResourceDefinition: in the rendered set, in a folder of definitions, or by a cluster that has it".to_owned()
            }
        };
        Finding::new(Severity::Warning, "unknown-kind", message).help(help)
    }
}

/// What is said once for all objects of a kind.
#[derive(Debug, Default)]
pub(super) struct Kinds<'s> {
    remarks: Vec<Remark>,
    places: HashMap<(String, String), usize>,
    used: Vec<(&'s Crd<'s>, usize)>,
}

#[derive(Debug)]
struct Remark {
    finding: Finding,
    first: usize,
    objects: usize,
}

impl<'s> Kinds<'s> {
    /// Notes what there is to say of the kind of one object.
    pub(super) fn remark(&mut self, subject: &SchemaSubject<'_>, place: usize, remark: Option<Box<Finding>>, crd: Option<&'s Crd<'s>>) {
        if let Some(crd) = crd
            && !self.used.iter().any(|(used, _)| std::ptr::eq(*used, crd))
        {
            self.used.push((crd, place));
        }
        let Some(finding) = remark else { return };
        let key = (subject.manifest.api_version().to_owned(), subject.manifest.kind().to_owned());
        let at = *self.places.entry(key).or_insert_with(|| {
            self.remarks.push(Remark { finding: *finding, first: place, objects: 0 });
            self.remarks.len() - 1
        });
        self.remarks[at].objects += 1;
    }

    /// Gives the findings, each on the first object that it concerns.
    pub(super) fn into_findings(self, subjects: &[SchemaSubject<'_>]) -> Vec<SchemaFinding> {
        let mut found = Vec::new();
        for mut remark in self.remarks {
            if remark.objects > 1 {
                remark.finding.message.push_str(&format!(" ({} objects)", remark.objects));
            }
            found.push(at(remark.finding, remark.first, &subjects[remark.first]));
        }
        for (crd, place) in self.used {
            let own = subjects.iter().any(|subject| super::is_definition(subject.manifest) && subject.manifest.name() == crd.name());
            if own {
                continue;
            }
            for problem in &crd.compiled().problems {
                let message = format!("the schema of the definition {} is not structural: {problem}", crd.name());
                found.push(at(Finding::fatal("crd-invalid", message), place, &subjects[place]));
            }
        }
        found
    }
}

/// Writes the newest version of each group, stable ones first of all.
fn replacements<'k>(kinds: impl Iterator<Item = &'k BuiltinKind>) -> Vec<String> {
    let (prerelease, stable): (Vec<&BuiltinKind>, Vec<&BuiltinKind>) = kinds.partition(|kind| is_prerelease(&kind.version));
    let kinds = if stable.is_empty() { prerelease } else { stable };
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for kind in kinds {
        let version = newest.entry(&kind.group).or_insert(&kind.version);
        *version = (*version).max(kind.version.as_str());
    }
    newest.into_iter().map(|(group, version)| written(group, version)).collect()
}

fn is_prerelease(version: &str) -> bool {
    version.contains("alpha") || version.contains("beta")
}

fn written(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
