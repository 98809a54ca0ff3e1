use std::sync::Arc;

use provision_model::{Finding, Origin};

use crate::path::{Step, parse};
use crate::shape::{Shape, settings_shape};
use crate::suggest::{listed, nearest};
use crate::tree::{Content, Entry, Node, NodeId, Place, ReadRules, Tree, is_plain_null, read_documents};

/// The name under which `--set` arguments stand in origins: line = argument, column = place in it.
pub(crate) const FILE: &str = "--set";

/// Reads the `number`th (from 0) `path=value` as a layer of its own, typed by the schema.
///
/// # Errors
/// A finding if the path is malformed, leads through a list, or names an entry of a free map that no layer has.
pub(crate) fn read(tree: &mut Tree, merged: NodeId, number: usize, set: &str) -> Result<NodeId, Box<Finding>> {
    let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
    let at = |column: u32| Origin::new(FILE, line, column);
    let Some((path, value)) = set.split_once('=') else {
        return Err(Finding::fatal("set-syntax", format!("`{set}` is no override; write `path.to.key=value`")).at(at(1)).into());
    };
    let steps = parse(path).map_err(|(column, why)| Finding::fatal("set-syntax", format!("the path `{path}`: {why}")).at(at(column)))?;
    let mut keys = Vec::new();
    for (step, column) in steps {
        match step {
            Step::Key(key) => keys.push((key, column)),
            Step::Index(_) | Step::Item { .. } => {
                let finding = Finding::fatal("set-syntax", "an override can't reach into a list").at(at(column));
                return Err(finding.help("set the whole list: `path=[a, b]`").into());
            }
        }
    }
    let shape = target(tree, merged, &keys, &at)?;
    let file = tree.add_file(FILE);
    let column = u32::try_from(path.chars().count() + 2).unwrap_or(u32::MAX);
    let mut node = match shape.as_deref() {
        Some(shape) => scalar_or_yaml(tree, shape, value, Place { file, line, column })?,
        None => scalar(tree, value, true, Place { file, line, column }),
    };
    for (key, column) in keys.into_iter().rev() {
        let place = Place { file, line, column };
        let entry = Entry { key, key_place: place, value: node };
        node = tree.add(Node { content: Content::Map(vec![entry]), place, tag: None, overridden: None });
    }
    Ok(node)
}

/// Finds the shape of the target; `None` for a key that the schema does not know, which the walk will report.
fn target(tree: &Tree, merged: NodeId, keys: &[(String, u32)], at: &dyn Fn(u32) -> Origin) -> Result<Option<Arc<Shape>>, Box<Finding>> {
    let mut shape = settings_shape().clone();
    let mut node = Some(merged);
    for (key, column) in keys {
        let Some((below, free)) = shape.under(key).map(|(below, free)| (below.clone(), free)) else { return Ok(None) };
        let found = node.and_then(|node| tree.entry(node, key)).map(|entry| entry.value);
        if free && found.is_none() {
            let known: Vec<&str> = node.map(|node| tree.entries(node)).unwrap_or_default().iter().map(|entry| entry.key.as_str()).collect();
            let finding = Finding::fatal("set-missing", format!("nothing to override: no layer has an entry `{key}`")).at(at(*column));
            let help = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", listed(known)),
            };
            return Err(finding.help(help).into());
        }
        shape = below;
        node = found;
    }
    Ok(Some(shape))
}

fn scalar_or_yaml(tree: &mut Tree, shape: &Shape, value: &str, place: Place) -> Result<NodeId, Box<Finding>> {
    if matches!(shape.inner(), Shape::Text { .. }) {
        let nullable = matches!(shape, Shape::Nullable(_));
        return Ok(scalar(tree, value, nullable && is_plain_null(value), place));
    }
    let rules = ReadRules { merge_tags: false, single_document: true };
    match read_documents(tree, FILE, value, rules) {
        Ok(documents) => Ok(match documents.first() {
            Some(document) => moved(tree, *document, place),
            None => scalar(tree, value, true, place),
        }),
        Err(findings) => {
            let message = findings.first().map_or_else(String::new, |finding| finding.message.clone());
            Err(Finding::fatal("set-syntax", format!("the value `{value}`: {message}")).at(tree.origin(place)).into())
        }
    }
}

fn scalar(tree: &mut Tree, text: &str, plain: bool, place: Place) -> NodeId {
    tree.add(Node { content: Content::Scalar { text: text.to_owned(), plain }, place, tag: None, overridden: None })
}

/// Copies what was read from a value alone to its place in the argument.
fn moved(tree: &mut Tree, node: NodeId, to: Place) -> NodeId {
    let shifted = |place: Place| Place { column: place.column + to.column - 1, ..to };
    let old = tree.node(node).clone();
    let content = match old.content {
        Content::Map(entries) => {
            let moved = |entry: Entry| Entry { key_place: shifted(entry.key_place), value: moved(tree, entry.value, to), key: entry.key };
            Content::Map(entries.into_iter().map(moved).collect())
        }
        Content::List(items) => Content::List(items.into_iter().map(|item| moved(tree, item, to)).collect()),
        scalar @ Content::Scalar { .. } => scalar,
    };
    tree.add(Node { content, place: shifted(old.place), ..old })
}
