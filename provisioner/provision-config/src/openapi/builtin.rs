//! The schemas of the kinds that every API server has, one document for each minor version; `schemas/generate.py` writes them.

use serde::Deserialize;

use super::node::{Node, NodeId, Shape};

/// One kind of a document.
#[derive(Debug, Deserialize)]
pub(super) struct BuiltinKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    pub(super) node: NodeId,
}

/// All built-in kinds of one minor version.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) kinds: Vec<BuiltinKind>,
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Packed {
    kinds: Vec<BuiltinKind>,
    nodes: Vec<Shape>,
}

const DOCUMENTS: [(&str, &[u8]); 8] = [
    ("1.29", include_bytes!("../../schemas/v1.29.json.zst")),
    ("1.30", include_bytes!("../../schemas/v1.30.json.zst")),
    ("1.31", include_bytes!("../../schemas/v1.31.json.zst")),
    ("1.32", include_bytes!("../../schemas/v1.32.json.zst")),
    ("1.33", include_bytes!("../../schemas/v1.33.json.zst")),
    ("1.34", include_bytes!("../../schemas/v1.34.json.zst")),
    ("1.35", include_bytes!("../../schemas/v1.35.json.zst")),
    ("1.36", include_bytes!("../../schemas/v1.36.json.zst")),
];

/// Lists the minor versions with a document, oldest first.
pub(super) fn minors() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.iter().map(|(minor, _)| *minor)
}

/// Reads the document of a target such as `1.36`, `v1.36` or `1.36.3`; `None` when there is none.
pub(super) fn document(target: &str) -> Option<Document> {
    let mut parts = target.strip_prefix('v').unwrap_or(target).split('.');
    let minor = format!("{}.{}", parts.next()?, parts.next()?);
    let (_, bytes) = DOCUMENTS.iter().find(|(known, _)| *known == minor)?;
    let packed: Packed = serde_json::from_slice(&zstd::decode_all(*bytes).ok()?).ok()?;
    let nodes = packed.nodes.into_iter().map(|shape| Node { shape, limits: None }).collect();
    Some(Document { kinds: packed.kinds, nodes })
}

impl Document {
    /// Finds the schema of `metadata`, which custom resources share.
    pub(super) fn metadata(&self) -> Option<NodeId> {
        let namespace = self.kinds.iter().find(|kind| kind.kind == "Namespace")?;
        match &self.nodes.get(namespace.node.0)?.shape {
            Shape::Object(object) => object.fields.get("metadata").copied(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_reads_and_refers_only_to_its_own_nodes() {
        for minor in minors() {
            let document = document(minor).unwrap();
            assert!(document.metadata().is_some(), "{minor}");
            assert!(document.kinds.len() > 70, "{minor}");
            let inside = |id: &NodeId| id.0 < document.nodes.len();
            assert!(document.kinds.iter().all(|kind| inside(&kind.node)), "{minor}");
            for node in &document.nodes {
                match &node.shape {
                    Shape::Map(of) => assert!(inside(of), "{minor}"),
                    Shape::List(list) => assert!(inside(&list.of), "{minor}"),
                    Shape::Object(object) => assert!(object.fields.values().all(inside), "{minor}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_target_may_carry_a_patch_version() {
        for (target, known) in
            [("1.36", true), ("v1.36.3", true), ("1.29.0-eks", true), ("1.28", false), ("1.37", false), ("2", false), ("", false)]
        {
            assert_eq!(document(target).is_some(), known, "{target}");
        }
    }
}
