use std::collections::HashSet;

use provision_model::{Finding, Severity};

use super::tracked::{PathSet, Read, root_hash, step_hash};
use super::units::Made;
use crate::Environment;
use crate::path;
use crate::shape::{Shape, settings_shape};
use crate::tree::{Content, NodeId};

/// Reports values of the files that nothing reads.
///
/// A warning when no template mentions the key at all. When templates mention it but this rendering did not read it, only an
/// environment, region or `--set` value is worth a note: the base holds what some environments need and others do not.
pub(super) fn report(environment: &Environment, reads: &ReadPaths, mentioned: &HashSet<String>) -> Vec<Finding> {
    let mut search = Search { environment, reads, mentioned, path: Vec::new(), findings: Vec::new() };
    search.node(environment.root, settings_shape(), root_hash());
    search.findings
}

/// Everything that templates read, by the numbers of paths.
#[derive(Debug, Default)]
pub(super) struct ReadPaths {
    whole: PathSet,
    keys: PathSet,
}

impl ReadPaths {
    pub(super) fn of(made: &Made) -> Self {
        let mut paths = Self::default();
        for read in made.reads.iter().chain(made.units.iter().flat_map(|unit| &unit.reads)) {
            match read {
                Read::Whole(path) => paths.whole.insert(*path),
                Read::Keys(path) => paths.keys.insert(*path),
            };
        }
        paths
    }
}

struct Search<'s> {
    environment: &'s Environment,
    reads: &'s ReadPaths,
    mentioned: &'s HashSet<String>,
    path: Vec<&'s str>,
    findings: Vec<Finding>,
}

impl<'s> Search<'s> {
    fn node(&mut self, node: NodeId, shape: &Shape, hash: u64) {
        if self.reads.whole.contains(&hash) {
            return;
        }
        let environment: &'s Environment = self.environment;
        let tree = &environment.tree;
        let entries = match &tree.node(node).content {
            Content::Map(entries) if !entries.is_empty() => entries,
            // Lists are read item by item, or asked for their length.
            Content::List(items) if (0..items.len()).any(|at| self.any_read(items[at], step_hash(hash, &at.to_string()))) => return,
            _ if self.reads.keys.contains(&hash) => return,
            _ => return self.unread(node),
        };
        // Nothing of a map with free keys is read: that is one thing, not one for each key.
        let free = matches!(shape.inner(), Shape::Map { rest: Some(_), .. });
        if free && !self.path.is_empty() && !self.any_read(node, hash) {
            return self.unread(node);
        }
        // A switched-off part is not read on purpose.
        let off = tree.entry(node, "enabled").is_some_and(|entry| tree.text(entry.value) == Some("false"));
        for entry in entries {
            // Most is read: that is seen without a look into the schema.
            let inner = step_hash(hash, &entry.key);
            if self.reads.whole.contains(&inner) {
                continue;
            }
            let field = match shape.inner() {
                Shape::Map { fields, .. } => fields.iter().find(|field| field.name == entry.key),
                _ => None,
            };
            if field.is_some_and(|field| field.program) || (off && entry.key != "enabled") {
                continue;
            }
            let below = shape.under(&entry.key).map_or(&Shape::Any, |(shape, _)| shape);
            self.path.push(&entry.key);
            self.node(entry.value, below, inner);
            self.path.pop();
        }
    }

    fn any_read(&self, node: NodeId, hash: u64) -> bool {
        let inside = |content: &Content| match content {
            Content::Map(entries) => entries.iter().any(|entry| self.any_read(entry.value, step_hash(hash, &entry.key))),
            Content::List(items) => items.iter().enumerate().any(|(at, item)| self.any_read(*item, step_hash(hash, &at.to_string()))),
            Content::Scalar { .. } => false,
        };
        self.reads.whole.contains(&hash) || inside(&self.environment.tree.node(node).content)
    }

    fn unread(&mut self, node: NodeId) {
        let path = self.path.iter().fold(String::new(), |path, key| path::join(&path, key));
        let tree = &self.environment.tree;
        let origin = tree.origin(tree.node(node).place);
        let mentioned = self.path.last().is_some_and(|key| self.mentioned.contains(*key));
        let base = origin.file == "environments/base.yaml";
        let finding = match (mentioned, base) {
            (false, _) => Finding::warning("unused-value", format!("no template reads `{path}`")),
            (true, false) => Finding::new(Severity::Info, "unused-value", format!("nothing in this environment reads `{path}`")),
            (true, true) => return,
        };
        self.findings.push(finding.at(origin));
    }
}
