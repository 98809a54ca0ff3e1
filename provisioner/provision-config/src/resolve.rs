//! Sources and a selection become one typed environment.

mod composed;
mod overrides;

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use provision_model::{EnvironmentName, Finding, Origin, Policy, RegionName, ReleaseName, SecretRef};
use serde::Serialize;
use serde_json::Value;

pub use self::composed::Composed;
use crate::merge::{check_lowest, merge};
use crate::path;
use crate::settings::LocalSecret;
use crate::shape::{Shape, Walk, missing_allowed, settings_shape};
use crate::suggest::{listed, nearest};
use crate::tree::{Content, Node, NodeId, Place, ReadRules, Tree, read_documents};
use crate::{ConfigErrors, Settings, Sources};

/// Which environment is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Name of the environment.
    pub environment: String,
    /// Name of the region overlay, if one.
    pub region: Option<String>,
    /// `path=value` overrides, in order.
    pub sets: Vec<String>,
}

/// The merged, typed settings of one environment, each value with the layers that set it.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Name.
    pub name: EnvironmentName,
    /// Region overlay, if one.
    pub region: Option<RegionName>,
    /// Name of the release in a cluster.
    pub release: ReleaseName,
    /// The settings.
    pub settings: Settings,
    /// The settings as templates see them: defaults filled in, what is not set is null.
    pub values: Arc<Value>,
    pub(crate) tree: Tree,
    pub(crate) root: NodeId,
}

/// One leaf of the merged settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueEntry {
    /// Path: `services.api-gateway.replicas`.
    pub path: String,
    /// Value as templates see it.
    pub value: Value,
    /// Line that set it; `None` for a default.
    pub origin: Option<Origin>,
    /// What that line overrode, newest first.
    pub overridden: Vec<Layered>,
}

/// A value as one layer sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layered {
    /// The value.
    pub value: Value,
    /// The line.
    pub origin: Origin,
}

/// Merges and types the layers of an environment: base, environment, lock, region, `--set`.
///
/// # Errors
/// [`ConfigErrors`] with every problem of every layer.
pub fn resolve(sources: &Sources, selection: &Selection) -> Result<Environment, ConfigErrors> {
    // One line for each override, so that places in them keep their meaning.
    let sets: Vec<String> = selection.sets.iter().map(|set| set.replace('\n', " ")).collect();
    let sources = &sources.with_file(overrides::FILE, &sets.join("\n"));
    let (name, region) = names(sources, selection).map_err(|finding| ConfigErrors::one(sources, *finding))?;
    let release =
        ReleaseName::of(&name, region.as_ref()).map_err(|e| ConfigErrors::one(sources, Finding::fatal("invalid-name", e.to_string())))?;
    let mut findings = Vec::new();
    let mut layers = Layers::read(sources, &name, region.as_ref(), &mut findings);
    for (number, set) in selection.sets.iter().enumerate() {
        match overrides::read(&mut layers.tree, layers.merged, number, set) {
            Ok(layer) => layers.add(layer, &mut findings),
            Err(finding) => findings.push(*finding),
        }
    }
    let value = layers.typed(&mut findings);
    if let Some(errors) = ConfigErrors::of(sources, findings) {
        return Err(errors);
    }
    let Layers { tree, merged: root, .. } = layers;
    let settings: Settings = serde_json::from_value(value)
        .map_err(|error| ConfigErrors::one(sources, Finding::fatal("settings", format!("the settings do not fit: {error}"))))?;
    let values = serde_json::to_value(&settings)
        .map_err(|error| ConfigErrors::one(sources, Finding::fatal("settings", format!("the settings are no JSON: {error}"))))?;
    let environment = Environment { name, region, release, settings, values: Arc::new(values), tree, root };
    ConfigErrors::of(sources, composed::check(&environment)).map_or(Ok(environment), Err)
}

fn names(sources: &Sources, selection: &Selection) -> Result<(EnvironmentName, Option<RegionName>), Box<Finding>> {
    let wanted = selection.environment.as_str();
    let known = sources.environments();
    let name = EnvironmentName::from_str(wanted).map_err(|error| Finding::fatal("invalid-name", error.to_string()))?;
    if !known.contains(&name) {
        return Err(missing("environment", wanted, &format!("environments/{name}.yaml"), known.iter().map(EnvironmentName::as_str)).into());
    }
    let Some(wanted) = &selection.region else { return Ok((name, None)) };
    let known = sources.regions(&name);
    let region = RegionName::from_str(wanted).map_err(|error| Finding::fatal("invalid-name", error.to_string()))?;
    if !known.contains(&region) {
        let file = format!("environments/{name}/{region}.yaml");
        return Err(missing("region", wanted, &file, known.iter().map(RegionName::as_str)).into());
    }
    Ok((name, Some(region)))
}

fn missing<'n>(what: &str, wanted: &str, file: &str, known: impl Iterator<Item = &'n str> + Clone) -> Finding {
    let finding = Finding::fatal(&format!("unknown-{what}"), format!("there is no {what} `{wanted}`: no file `{file}`"));
    let list = listed(known.clone());
    match nearest(wanted, known) {
        Some(near) => finding.help(format!("did you mean `{near}`? There are {list}")),
        None if list.is_empty() => finding.help(format!("there is no {what} at all; write `{file}`")),
        None => finding.help(format!("there are {list}")),
    }
}

struct Layers {
    tree: Tree,
    roots: Vec<NodeId>,
    merged: NodeId,
}

impl Layers {
    fn read(sources: &Sources, name: &EnvironmentName, region: Option<&RegionName>, findings: &mut Vec<Finding>) -> Self {
        let mut files =
            vec!["environments/base.yaml".to_owned(), format!("environments/{name}.yaml"), format!("environments/{name}.lock.yaml")];
        files.extend(region.map(|region| format!("environments/{name}/{region}.yaml")));
        let mut tree = Tree::default();
        let first = tree.add_file(format!("environments/{name}.yaml"));
        let empty = empty_map(first);
        let merged = tree.add(empty);
        let mut layers = Self { tree, roots: Vec::new(), merged };
        for file in files {
            let Some(text) = sources.text(&file) else { continue };
            match read_documents(&mut layers.tree, &file, text, ReadRules { merge_tags: true, single_document: true }) {
                Ok(documents) => documents.into_iter().for_each(|root| layers.add(root, findings)),
                Err(problems) => findings.extend(problems),
            }
        }
        layers
    }

    fn add(&mut self, layer: NodeId, findings: &mut Vec<Finding>) {
        let is_map = matches!(self.tree.node(layer).content, Content::Map(_));
        let shape = settings_shape();
        if is_map && self.roots.is_empty() {
            check_lowest(&mut self.tree, layer, findings);
            self.merged = layer;
        } else if is_map {
            self.merged = merge(&mut self.tree, self.merged, layer, shape, findings);
        }
        self.roots.push(layer);
    }

    /// Checks each layer for what does not fit, the merged tree for what is missing, and types it.
    fn typed(&self, findings: &mut Vec<Finding>) -> Value {
        let shape: &Shape = settings_shape();
        for layer in &self.roots {
            let mut walk = Walk::new(&self.tree, &self.roots, missing_allowed(true));
            walk.value(*layer, shape, "");
            findings.append(&mut walk.findings);
        }
        let mut walk = Walk::new(&self.tree, &self.roots, missing_allowed(false));
        let value = walk.value(self.merged, shape, "");
        // Most was found in the layer itself already, where overridden values are seen too; what only layers together show was not.
        let known: HashSet<_> = findings.iter().map(|finding| (finding.origins.first().cloned(), finding.code.clone())).collect();
        let new = |finding: &Finding| !known.contains(&(finding.origins.first().cloned(), finding.code.clone()));
        findings.extend(walk.findings.into_iter().filter(new));
        value
    }
}

fn empty_map(file: u32) -> Node {
    Node { content: Content::Map(Vec::new()), place: Place { file, line: 1, column: 1 }, tag: None, overridden: None }
}

impl Environment {
    /// Returns what planning and applying may do.
    pub fn policy(&self) -> Policy {
        let (set, default) = (&self.settings.policy, Policy::default());
        Policy {
            object_timeout: set.object_timeout.as_ref().map_or(default.object_timeout, crate::settings::Period::duration),
            settle: set.settle.as_ref().map_or(default.settle, crate::settings::Period::duration),
            max_deletes: set.max_deletes.map_or(default.max_deletes, |count| count as usize),
            history: set.history.map_or(default.history, |count| count as usize),
            state_namespace: set.state_namespace.clone().unwrap_or(default.state_namespace),
        }
    }

    /// Lists the secret values: name, reference, and where the value comes from in mode `local`.
    pub fn secret_items(&self) -> Vec<(String, SecretRef, Option<LocalSecret>)> {
        let items = self.settings.secrets.items.iter();
        items
            .map(|(name, item)| {
                let reference = SecretRef { path: item.path.clone(), property: item.property.clone(), version: None };
                (name.to_owned(), reference, item.local.clone())
            })
            .collect()
    }

    /// Lists every leaf with the lines that set it; defaults have no line.
    pub fn entries(&self) -> Vec<ValueEntry> {
        let mut entries = Vec::new();
        self.collect(&self.values, Some(self.root), String::new(), &mut entries);
        entries
    }

    fn collect(&self, value: &Value, node: Option<NodeId>, path: String, entries: &mut Vec<ValueEntry>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, child) in map {
                    let below = node.and_then(|node| self.tree.entry(node, key)).map(|entry| entry.value);
                    self.collect(child, below, path::join(&path, key), entries);
                }
            }
            _ => {
                let mut history = node.map(|node| self.layered(node)).unwrap_or_default();
                let origin = (!history.is_empty()).then(|| history.remove(0).origin);
                entries.push(ValueEntry { path, value: value.clone(), origin, overridden: history });
            }
        }
    }

    /// Finds the line that sets a value, or the nearest one around it.
    pub(crate) fn origin_of(&self, path: &str) -> Option<Origin> {
        let steps = path::parse(path).ok()?;
        let node = steps.iter().try_fold(self.root, |node, (step, _)| self.tree.step(node, step))?;
        Some(self.tree.origin(self.tree.node(node).place))
    }

    /// Lists what each layer set, newest first.
    pub(crate) fn layered(&self, node: NodeId) -> Vec<Layered> {
        let read = |node: NodeId| Layered { value: self.tree.json(node), origin: self.tree.origin(self.tree.node(node).place) };
        self.tree.history(node).into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests;
