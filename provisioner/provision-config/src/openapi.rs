//! Strict checks of objects against the API's own schemas: built-in kinds of a minor version and custom resources.
//!
//! What the API server would prune, coerce or refuse later is found here, before anything is written. Left to the API server: rules
//! between fields (CEL, `oneOf` and the like), immutable fields, admission.

mod builtin;
mod crd;
mod formats;
mod node;
mod path;
mod served;
mod walk;

use std::borrow::Cow;
use std::collections::HashMap;

use provision_model::{FieldPath, Finding, Manifest, Origin};
use serde_json::Value;

use crate::suggest::listed;
use builtin::{BuiltinKind, Document};
use crd::Crd;
use node::{Node, NodeId};
use served::{Groups, Lookup};

/// An object to check and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct SchemaSubject<'a> {
    /// The object.
    pub manifest: &'a Manifest,
    /// Where its text is.
    pub origin: &'a Origin,
}

/// A finding of [`Schemas::check`] with what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFinding {
    /// The finding; its message names the field.
    pub finding: Finding,
    /// Place of the object in the slice that was checked.
    pub subject: usize,
    /// The field, if one.
    pub field: Option<FieldPath>,
}

/// The kinds that a cluster is expected to serve, with their schemas.
///
/// Schemas of custom resources are compiled when an object of the kind is first checked.
#[derive(Debug)]
pub struct Schemas {
    target: String,
    builtin: HashMap<String, Vec<BuiltinKind>>,
    groups: Groups,
    nodes: Vec<Node>,
    metadata: Option<NodeId>,
    crds: Vec<Crd<'static>>,
}

impl Schemas {
    /// Reads the schemas of a target's minor version (`1.36`) and takes the definitions of custom resources that are known.
    ///
    /// The findings: a target without schemas (`unknown-target`, built-in kinds are then not checked) and definitions that can't be
    /// used (`crd-invalid`).
    pub fn new(target: &str, crds: impl IntoIterator<Item = Value>) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let document = builtin::document(target).unwrap_or_else(|| {
            let message = format!("no schemas for Kubernetes `{target}`");
            let help = format!("known minor versions: {}", listed(builtin::minors()));
            findings.push(Finding::fatal("unknown-target", message).help(help));
            Document { kinds: Vec::new(), nodes: Vec::new() }
        });
        let mut schemas = Self {
            target: target.to_owned(),
            metadata: document.metadata(),
            groups: Groups::of(&document.kinds),
            nodes: document.nodes,
            builtin: HashMap::new(),
            crds: Vec::new(),
        };
        for kind in document.kinds {
            schemas.builtin.entry(kind.kind.clone()).or_default().push(kind);
        }
        for crd in crds {
            match Crd::read(Cow::Owned(crd)) {
                Ok(crd) => schemas.crds.push(crd),
                Err(problem) => findings.push(Finding::fatal("crd-invalid", problem)),
            }
        }
        (schemas, findings)
    }

    /// Tells whether objects of a kind live in a namespace; `None` when the kind is unknown or not served.
    pub fn namespaced(&self, api_version: &str, kind: &str) -> Option<bool> {
        match self.lookup(api_version, kind, &[]) {
            Lookup::Known { root, .. } => Some(root.namespaced),
            Lookup::NotServed(_) | Lookup::Unknown(_) | Lookup::Unchecked => None,
        }
    }

    /// Checks objects; definitions of custom resources among them count too, before those that were known.
    ///
    /// Finds `unknown-field`, `wrong-type`, `missing-field`, `invalid-value`, `duplicate-item`, `unknown-kind`, `kind-not-served` and
    /// `crd-invalid`, in the order of the objects. A kind that no definition is known of is a warning, once for all of its objects.
    pub fn check(&self, subjects: &[SchemaSubject<'_>]) -> Vec<SchemaFinding> {
        let mut found = Vec::new();
        let mut own = Vec::new();
        for (place, subject) in subjects.iter().enumerate().filter(|(_, subject)| is_definition(subject.manifest)) {
            // A definition that can't be read has findings as an object of its own kind.
            if let Ok(crd) = Crd::read(Cow::Borrowed(subject.manifest.value())) {
                for problem in &crd.compiled().problems {
                    let finding = Finding::fatal("crd-invalid", format!("the schema is not structural: {problem}"));
                    found.push(at(finding, place, subject));
                }
                own.push(crd);
            }
        }
        let mut kinds = served::Kinds::default();
        for (place, subject) in subjects.iter().enumerate() {
            let manifest = subject.manifest;
            match self.lookup(manifest.api_version(), manifest.kind(), &own) {
                Lookup::Known { root, remark, crd } => {
                    kinds.remark(subject, place, remark, crd);
                    walk::object(root, subject, place, &mut found);
                }
                Lookup::NotServed(finding) => found.push(at(*finding, place, subject)),
                Lookup::Unknown(finding) => kinds.remark(subject, place, Some(finding), None),
                Lookup::Unchecked => {}
            }
        }
        found.extend(kinds.into_findings(subjects));
        found
    }
}

/// Checks objects against the schemas of a target's minor version (`1.36`) and of the custom resources that are known.
///
/// Findings as in [`Schemas::new`] and [`Schemas::check`]; who checks more than once keeps [`Schemas`].
pub fn check_schemas(objects: &[SchemaSubject<'_>], target: &str, crds: &[Value]) -> Vec<Finding> {
    let (schemas, mut findings) = Schemas::new(target, crds.iter().cloned());
    findings.extend(schemas.check(objects).into_iter().map(|found| found.finding));
    findings
}

fn is_definition(manifest: &Manifest) -> bool {
    manifest.kind() == crd::KIND && manifest.api_version() == crd::API_VERSION
}

fn at(finding: Finding, place: usize, subject: &SchemaSubject<'_>) -> SchemaFinding {
    let finding = finding.on(subject.manifest.id()).at(subject.origin.clone());
    SchemaFinding { finding, subject: place, field: None }
}
