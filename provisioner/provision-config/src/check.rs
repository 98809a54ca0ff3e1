//! Checks of rendered objects: identities, references, images, secrets, schemas.

mod facts;
mod kinds;
mod references;

use std::collections::HashMap;

use provision_model::{DesiredObject, Finding, ResourceId, Severity};
use serde_json::Value as Json;

use crate::tree::{ReadRules, Tree, read_documents};
use crate::{Environment, Sources};

pub(crate) use facts::Facts;
pub(crate) use kinds::{group_of, is_cluster_scoped};

/// The code of images without digest.
pub(crate) const NOT_PINNED: &str = "image-not-pinned";

/// What is known about kinds: the target's version and the CustomResourceDefinitions.
#[derive(Debug)]
pub(crate) struct Catalog {
    crds: Vec<Json>,
}

impl Catalog {
    pub(crate) fn new(_target: &str, crds: Vec<Json>) -> Self {
        Self { crds }
    }
}

/// Something wrong with one object, and the field where it is.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// Place in the list of objects.
    pub(crate) object: Option<usize>,
    /// JSON pointer into the object.
    pub(crate) pointer: Option<String>,
    pub(crate) finding: Finding,
}

/// Reads the CustomResourceDefinitions below `templates/crds/`.
pub(crate) fn crds_of_sources(sources: &Sources, findings: &mut Vec<Finding>) -> Vec<Json> {
    let mut tree = Tree::default();
    let mut crds = Vec::new();
    for (path, text) in sources.templates().filter(|(path, _)| path.starts_with("templates/crds/")) {
        match read_documents(&mut tree, path, text, ReadRules { merge_tags: false, single_document: false }) {
            Ok(documents) => crds.extend(documents.into_iter().map(|document| tree.json(document))),
            Err(problems) => findings.extend(problems),
        }
    }
    crds
}

/// Checks all objects together; the facts stand in the same order as the objects.
pub(crate) fn objects(objects: &[DesiredObject], facts: &[&Facts], environment: &Environment, catalog: &Catalog) -> Vec<Problem> {
    let mut problems = Vec::new();
    let index = index(objects, &mut problems);
    for (place, facts) in facts.iter().enumerate() {
        problems.extend(facts.problems.iter().map(|(pointer, finding)| Problem {
            object: Some(place),
            pointer: Some(pointer.clone()),
            finding: finding.clone().on(objects[place].id()),
        }));
        images(place, facts, &objects[place], environment, &mut problems);
    }
    references::check(objects, facts, &index, environment, &mut problems);
    let _ = catalog;
    for problem in problems.iter_mut().filter(|problem| problem.pointer.is_none() && problem.finding.origins.is_empty()) {
        if let Some(place) = problem.object {
            problem.finding.origins.push(objects[place].origin.clone());
        }
    }
    problems
}

/// Finds objects by identity; two with the same one are a problem, whatever version they are written in.
fn index(objects: &[DesiredObject], problems: &mut Vec<Problem>) -> HashMap<ResourceId, usize> {
    let mut index = HashMap::with_capacity(objects.len());
    for (place, object) in objects.iter().enumerate() {
        let id = object.id();
        let Some(first) = index.get(&id).copied() else {
            index.insert(id, place);
            continue;
        };
        let first: &DesiredObject = &objects[first];
        let versions = if first.manifest.api_version() == object.manifest.api_version() {
            String::new()
        } else {
            format!(" (as {} and as {})", first.manifest.api_version(), object.manifest.api_version())
        };
        let finding = Finding::fatal("duplicate-object", format!("{id} is rendered twice{versions}"));
        let finding = finding.on(id).at(object.origin.clone()).at(first.origin.clone());
        problems.push(Problem { object: Some(place), pointer: None, finding });
    }
    index
}

fn images(place: usize, facts: &Facts, object: &DesiredObject, environment: &Environment, problems: &mut Vec<Problem>) {
    for (pointer, image) in facts.images.iter().filter(|(_, image)| !image.contains("@sha256:")) {
        let required = environment.settings.registry.require_digest;
        let severity = if required { Severity::Fatal } else { Severity::Warning };
        let mut finding = Finding::new(severity, NOT_PINNED, format!("the image `{image}` has no digest, so it may change under the same name"));
        finding.help = Some("pin it in the environment's lock file with `provision image push`".to_owned());
        problems.push(Problem { object: Some(place), pointer: Some(pointer.clone()), finding: finding.on(object.id()) });
    }
}
