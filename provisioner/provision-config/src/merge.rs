//! Layers become one tree: maps merge, lists replace unless they have a merge key, tags delete and replace.

use provision_model::Finding;

use crate::path;
use crate::shape::Shape;
use crate::suggest::nearest;
use crate::tree::{Content, Entry, MergeTag, Node, NodeId, Tree};

/// Lays `over` on `base` and returns the merged node; every replaced value stays reachable as what was overridden.
pub(crate) fn merge(tree: &mut Tree, base: NodeId, over: NodeId, shape: &Shape, findings: &mut Vec<Finding>) -> NodeId {
    Merge { tree, findings }.both(base, over, Some(shape), "")
}

/// Checks a tree that has nothing below it: there is nothing to delete or replace.
pub(crate) fn check_lowest(tree: &mut Tree, root: NodeId, findings: &mut Vec<Finding>) {
    Merge { tree, findings }.alone(root, "");
}

struct Merge<'m> {
    tree: &'m mut Tree,
    findings: &'m mut Vec<Finding>,
}

impl Merge<'_> {
    fn both(&mut self, base: NodeId, over: NodeId, shape: Option<&Shape>, path: &str) -> NodeId {
        let (below, above) = (self.tree.node(base).clone(), self.tree.node(over).clone());
        let content = match (below.content, above.content) {
            (_, content) if above.tag == Some(MergeTag::Replace) => self.whole(content, path),
            (Content::Map(below), Content::Map(above)) => self.maps(below, above, shape, path),
            (Content::List(below), Content::List(above)) => match shape.map(Shape::inner) {
                Some(Shape::List { merge_key: Some(key), item }) => self.keyed_lists((below, above), key, item, path),
                _ => self.whole(Content::List(above), path),
            },
            (_, content) => self.whole(content, path),
        };
        self.tree.add(Node { content, place: above.place, tag: None, overridden: Some(base) })
    }

    fn maps(&mut self, below: Vec<Entry>, above: Vec<Entry>, shape: Option<&Shape>, path: &str) -> Content {
        let mut merged = below;
        for entry in above {
            let inner = path::join(path, &entry.key);
            let known = merged.iter().position(|candidate| candidate.key == entry.key);
            match (known, self.tree.node(entry.value).tag) {
                (Some(at), Some(MergeTag::Delete)) => {
                    merged.remove(at);
                }
                (Some(at), _) => {
                    let below = shape.and_then(|shape| shape.under(&entry.key)).map(|(shape, _)| shape.clone());
                    let value = self.both(merged[at].value, entry.value, below.as_deref(), &inner);
                    merged[at] = Entry { value, ..entry };
                }
                (None, Some(MergeTag::Delete)) => {
                    let near = nearest(&entry.key, merged.iter().map(|candidate| candidate.key.as_str())).map(str::to_owned);
                    self.nothing_there(&entry, &inner, "delete", near);
                }
                (None, Some(MergeTag::Replace)) => {
                    let near = nearest(&entry.key, merged.iter().map(|candidate| candidate.key.as_str())).map(str::to_owned);
                    self.nothing_there(&entry, &inner, "replace", near);
                }
                (None, None) => {
                    self.alone(entry.value, &inner);
                    merged.push(entry);
                }
            }
        }
        Content::Map(merged)
    }

    fn keyed_lists(&mut self, (below, above): (Vec<NodeId>, Vec<NodeId>), key: &str, item: &Shape, path: &str) -> Content {
        let mut merged = below;
        for node in above {
            let name = self.tree.entry(node, key).and_then(|entry| self.tree.text(entry.value)).map(str::to_owned);
            let same = |tree: &Tree, other: NodeId| tree.entry(other, key).and_then(|entry| tree.text(entry.value)) == name.as_deref();
            let known = merged.iter().position(|other| name.is_some() && same(self.tree, *other));
            let inner = format!("{path}[{key}={}]", name.as_deref().unwrap_or("?"));
            match (known, self.tree.node(node).tag) {
                (Some(at), Some(MergeTag::Delete)) => {
                    merged.remove(at);
                }
                (Some(at), _) => merged[at] = self.both(merged[at], node, Some(item), &inner),
                (None, Some(tag)) => self.no_item(node, tag, &inner),
                (None, None) => {
                    self.alone(node, &inner);
                    merged.push(node);
                }
            }
        }
        Content::List(merged)
    }

    fn no_item(&mut self, node: NodeId, tag: MergeTag, path: &str) {
        let verb = if tag == MergeTag::Delete { "delete" } else { "replace" };
        let place = self.tree.node(node).place;
        let message = format!("nothing to {verb}: no lower layer has such an item in `{path}`");
        self.findings.push(Finding::fatal(&format!("{verb}-missing"), message).at(self.tree.origin(place)));
    }

    fn nothing_there(&mut self, entry: &Entry, path: &str, verb: &str, near: Option<String>) {
        let message = format!("nothing to {verb}: no lower layer sets `{path}`");
        let mut finding = Finding::fatal(&format!("{verb}-missing"), message).at(self.tree.origin(entry.key_place));
        finding.help = near.map(|near| format!("did you mean `{near}`?"));
        self.findings.push(finding);
    }

    /// Reports every tag below a node that no lower layer has.
    fn alone(&mut self, node: NodeId, path: &str) {
        let content = self.tree.node(node).content.clone();
        self.whole(content, path);
    }

    /// Takes a content as it is: in it there is nothing to delete or replace.
    fn whole(&mut self, content: Content, path: &str) -> Content {
        match &content {
            Content::Map(entries) => {
                for entry in entries {
                    let inner = path::join(path, &entry.key);
                    match self.tree.node(entry.value).tag {
                        Some(MergeTag::Delete) => self.nothing_there(entry, &inner, "delete", None),
                        Some(MergeTag::Replace) => self.nothing_there(entry, &inner, "replace", None),
                        None => self.alone(entry.value, &inner),
                    }
                }
            }
            Content::List(items) => items.iter().for_each(|item| match self.tree.node(*item).tag {
                Some(tag) => self.no_item(*item, tag, path),
                None => self.alone(*item, path),
            }),
            Content::Scalar { .. } => {}
        }
        content
    }
}

#[cfg(test)]
mod tests;
