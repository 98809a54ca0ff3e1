//! YAML as an arena of nodes that know their place, their layer and what they overrode.

mod read;
mod scalar;

use provision_model::Origin;
use serde_json::Value;

use crate::path::Step;

pub(crate) use read::{ReadRules, read_documents};
pub(crate) use scalar::{is_plain_null, plain_value};

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// A place in one of the tree's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What a merge is told by a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeTag {
    Delete,
    Replace,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A scalar in its lexical form; `plain` when not quoted, so that it may be a number or a word.
    Scalar {
        text: String,
        plain: bool,
    },
    Map(Vec<Entry>),
    List(Vec<NodeId>),
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: NodeId,
}

/// A value with its place, its layer and the value that it overrode.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) place: Place,
    pub(crate) tag: Option<MergeTag>,
    pub(crate) overridden: Option<NodeId>,
}

/// All nodes of an input; the file number of a place is the layer's number for environment files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    files: Vec<String>,
    nodes: Vec<Node>,
}

impl Tree {
    /// Adds a file and returns its number.
    pub(crate) fn add_file(&mut self, name: impl Into<String>) -> u32 {
        self.files.push(name.into());
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    /// Returns a node.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Returns the entries of a map; none for other nodes.
    pub(crate) fn entries(&self, id: NodeId) -> &[Entry] {
        match &self.node(id).content {
            Content::Map(entries) => entries,
            Content::Scalar { .. } | Content::List(_) => &[],
        }
    }

    /// Finds an entry of a map.
    pub(crate) fn entry(&self, id: NodeId, key: &str) -> Option<&Entry> {
        self.entries(id).iter().find(|entry| entry.key == key)
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).content {
            Content::Scalar { text, .. } => Some(text),
            Content::Map(_) | Content::List(_) => None,
        }
    }

    /// Returns a node as JSON, plain scalars by the core schema.
    pub(crate) fn json(&self, id: NodeId) -> Value {
        match &self.node(id).content {
            Content::Scalar { text, plain: true } => plain_value(text),
            Content::Scalar { text, plain: false } => Value::from(text.as_str()),
            Content::List(items) => items.iter().map(|item| self.json(*item)).collect(),
            Content::Map(entries) => Value::Object(entries.iter().map(|entry| (entry.key.clone(), self.json(entry.value))).collect()),
        }
    }

    /// Writes a place with the name of its file.
    pub(crate) fn origin(&self, place: Place) -> Origin {
        Origin::new(self.files[place.file as usize].clone(), place.line, place.column)
    }

    /// Follows one step of a path.
    pub(crate) fn step(&self, id: NodeId, step: &Step) -> Option<NodeId> {
        match (step, &self.node(id).content) {
            (Step::Key(key), Content::Map(_)) => self.entry(id, key).map(|entry| entry.value),
            (Step::Index(index), Content::List(items)) => items.get(*index).copied(),
            (Step::Item { key, value }, Content::List(items)) => {
                items.iter().copied().find(|item| self.entry(*item, key).and_then(|entry| self.text(entry.value)) == Some(value))
            }
            _ => None,
        }
    }

    /// Lists a node and what it overrode, newest first.
    pub(crate) fn history(&self, id: NodeId) -> Vec<NodeId> {
        let mut chain = vec![id];
        let mut next = self.node(id).overridden;
        while let Some(older) = next {
            chain.push(older);
            next = self.node(older).overridden;
        }
        chain
    }
}
