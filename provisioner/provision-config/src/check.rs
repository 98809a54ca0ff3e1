//! Checks of rendered objects: identities, references, images, secrets, schemas.

mod facts;
mod kinds;
mod references;

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use provision_model::{DesiredObject, Finding, FindingCode, LOCAL_REGISTRY, Manifest, Severity};
use serde_json::Value as Json;

use crate::pointer::pointer;
use crate::tree::{ReadRules, Tree, read_documents};
use crate::{Environment, SchemaFinding, SchemaSubject, Schemas, Sources};

pub(crate) use facts::Facts;
pub(crate) use kinds::{group_of, is_cluster_scoped};

/// The kind that defines kinds.
const DEFINITION: &str = "CustomResourceDefinition";

/// The code of images without digest.
pub(crate) const NOT_PINNED: &str = "image-not-pinned";

/// What is known about kinds: the schemas of the target's version and of the CustomResourceDefinitions.
#[derive(Debug)]
pub(crate) struct Catalog {
    schemas: Schemas,
    findings: Vec<Finding>,
}

impl Catalog {
    pub(crate) fn new(target: &str, crds: Vec<Json>) -> Self {
        let (schemas, findings) = Schemas::new(target, crds);
        Self { schemas, findings }
    }

    /// Tells whether objects of a kind live in a namespace; `None` when that is not known.
    fn namespaced(&self, manifest: &Manifest) -> Option<bool> {
        let known = self.schemas.namespaced(manifest.api_version(), manifest.kind());
        known.or_else(|| is_cluster_scoped(manifest.kind()).then_some(false))
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
    /// Whether the same message at another place speaks of the same thing: then it is said once.
    pub(crate) shared: bool,
}

/// Takes the findings out of problems that are located: one for each missing thing, with its first place in front, the others behind it
/// and their number in the message.
pub(crate) fn into_findings(problems: Vec<Problem>) -> Vec<Finding> {
    let mut findings: Vec<(Finding, usize)> = Vec::with_capacity(problems.len());
    let mut known: HashMap<(FindingCode, String), usize> = HashMap::new();
    for Problem { mut finding, shared, .. } in problems {
        if shared {
            match known.entry((finding.code.clone(), finding.message.clone())) {
                Entry::Vacant(new) => {
                    new.insert(findings.len());
                }
                Entry::Occupied(first) => {
                    let (first, others) = &mut findings[*first.get()];
                    // A Service without pods is worse than a budget without pods: the worst place stands in front.
                    let worse = finding.severity > first.severity;
                    if worse {
                        std::mem::swap(first, &mut finding);
                    }
                    // Behind the place itself stand the values that the field is made of: those of the first place are enough.
                    for place in finding.origins.into_iter().take(if worse { usize::MAX } else { 1 }) {
                        if !first.origins.contains(&place) {
                            first.origins.push(place);
                        }
                    }
                    *others += 1;
                    continue;
                }
            }
        }
        findings.push((finding, 0));
    }
    let counted = |(mut finding, others): (Finding, usize)| {
        match others {
            0 => {}
            1 => finding.message.push_str(" (and at 1 other place)"),
            _ => finding.message.push_str(&format!(" (and at {others} other places)")),
        }
        finding
    };
    findings.into_iter().map(counted).collect()
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
    let alone = |finding: &Finding| Problem { object: None, pointer: None, finding: finding.clone(), shared: false };
    let mut problems: Vec<Problem> = catalog.findings.iter().map(alone).collect();
    let keys: Vec<Key<'_>> = objects.iter().map(|object| key(&object.manifest)).collect();
    let index = index(objects, &keys, &mut problems);
    schemas(objects, facts, catalog, &mut problems);
    for (place, facts) in facts.iter().enumerate() {
        problems.extend(facts.problems.iter().map(|(pointer, finding)| Problem {
            object: Some(place),
            pointer: Some(pointer.clone()),
            finding: finding.clone().on(objects[place].id()),
            shared: false,
        }));
        images(place, facts, &objects[place], environment, &mut problems);
    }
    images_of_variables(environment, &mut problems);
    let set = Set { objects, facts, keys: &keys, index: &index };
    references::check(&set, environment, &mut problems);
    for problem in problems.iter_mut().filter(|problem| problem.pointer.is_none() && problem.finding.origins.is_empty()) {
        if let Some(place) = problem.object {
            problem.finding.origins.push(objects[place].origin.clone());
        }
    }
    problems
}

/// An identity without an allocation: group, kind, namespace (empty for none), name.
type Key<'o> = (&'o str, &'o str, &'o str, &'o str);

/// All objects with what is known about each, in the same order.
struct Set<'o> {
    objects: &'o [DesiredObject],
    facts: &'o [&'o Facts],
    keys: &'o [Key<'o>],
    index: &'o HashMap<Key<'o>, usize>,
}

fn key(manifest: &Manifest) -> Key<'_> {
    // Without JSON pointers, which are parsed anew each time: this is done for every object of every rendering.
    let (value, metadata) = (manifest.value(), manifest.value().get("metadata"));
    let group = text(value.get("apiVersion")).rsplit_once('/').map_or("", |(group, _)| group);
    let inside = |field: &str| metadata.and_then(|metadata| metadata.get(field));
    (group, text(value.get("kind")), text(inside("namespace")), text(inside("name")))
}

fn text(value: Option<&Json>) -> &str {
    value.and_then(Json::as_str).unwrap_or_default()
}

/// Finds objects by identity; two with the same one are a problem, whatever version they are written in.
fn index<'o>(objects: &[DesiredObject], keys: &[Key<'o>], problems: &mut Vec<Problem>) -> HashMap<Key<'o>, usize> {
    let mut index = HashMap::with_capacity(objects.len());
    for (place, object) in objects.iter().enumerate() {
        let Some(first) = index.get(&keys[place]).copied() else {
            index.insert(keys[place], place);
            continue;
        };
        let (first, id): (&DesiredObject, _) = (&objects[first], object.id());
        let versions = if first.manifest.api_version() == object.manifest.api_version() {
            String::new()
        } else {
            format!(" (as {} and as {})", first.manifest.api_version(), object.manifest.api_version())
        };
        let finding = Finding::fatal("duplicate-object", format!("{id} is rendered twice{versions}"));
        let finding = finding.on(id).at(object.origin.clone()).at(first.origin.clone());
        problems.push(Problem { object: Some(place), pointer: None, finding, shared: false });
    }
    index
}

fn images(place: usize, facts: &Facts, object: &DesiredObject, environment: &Environment, problems: &mut Vec<Problem>) {
    let is_open = |image: &str| !image.contains("@sha256:") && !image.starts_with(LOCAL_REGISTRY);
    for (pointer, image) in facts.images.iter().filter(|(_, image)| is_open(image)) {
        let help = "pin it in the environment's lock file with `provision image push`".to_owned();
        let finding = not_pinned(image, help, environment).on(object.id());
        problems.push(Problem { object: Some(place), pointer: Some(pointer.clone()), finding, shared: true });
    }
}

/// Looks at the images that services learn of by a variable: no field of an object says that it names one.
fn images_of_variables(environment: &Environment, problems: &mut Vec<Problem>) {
    let services = environment.settings.services.iter().filter(|(_, service)| service.enabled);
    for (_, name) in services.flat_map(|(_, service)| service.env_images.iter()) {
        let Some(image) = environment.settings.images.get(name).filter(|image| image.digest.is_none()) else { continue };
        let written = image.tag.as_ref().map_or_else(|| image.image.clone(), |tag| format!("{}:{tag}", image.image));
        let mut finding = not_pinned(&written, format!("pin it: `images.{name}.digest`"), environment);
        finding.origins.extend(environment.origin_of(&format!("images.{name}")));
        problems.push(Problem { object: None, pointer: None, finding, shared: true });
    }
}

fn not_pinned(image: &str, help: String, environment: &Environment) -> Finding {
    let severity = if environment.settings.registry.require_digest { Severity::Fatal } else { Severity::Warning };
    let mut finding =
        Finding::new(severity, NOT_PINNED, format!("the image `{image}` has no digest, so it may change under the same name"));
    finding.help = Some(help);
    finding
}

/// Takes what the schemas say: found with each object alone, or again with all when the set brings definitions of its own.
fn schemas(objects: &[DesiredObject], facts: &[&Facts], catalog: &Catalog, problems: &mut Vec<Problem>) {
    let mut add = |place: usize, found: &SchemaFinding| {
        let pointer = found.field.as_ref().map(pointer);
        problems.push(Problem { object: Some(place), pointer, finding: found.finding.clone(), shared: false });
    };
    if facts.iter().any(|facts| facts.definition) {
        let subjects: Vec<SchemaSubject<'_>> =
            objects.iter().map(|object| SchemaSubject { manifest: &object.manifest, origin: &object.origin }).collect();
        catalog.schemas.check(&subjects).iter().for_each(|found| add(found.subject, found));
        return;
    }
    let mut told = HashSet::new();
    for (place, facts) in facts.iter().enumerate() {
        for found in &facts.schema {
            // A kind without schema is worth one remark, not one for each object.
            let kind = objects[place].manifest.group_kind();
            if found.finding.severity == Severity::Fatal || found.field.is_some() || told.insert((kind, found.finding.code.clone())) {
                add(place, found);
            }
        }
    }
}
