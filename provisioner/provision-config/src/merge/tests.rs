use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::shape::{Walk, missing_allowed};
use crate::tree::{ReadRules, read_documents};

const RULES: ReadRules = ReadRules { merge_tags: true, single_document: true };

fn read(tree: &mut Tree, name: &str, text: &str) -> NodeId {
    read_documents(tree, name, text, RULES).unwrap()[0]
}

fn value(tree: &Tree, root: NodeId) -> Value {
    Walk::new(tree, &[], missing_allowed(true)).value(root, &Shape::Any, "")
}

fn merged(layers: &[&str], shape: &Shape) -> Result<Value, Vec<String>> {
    let mut tree = Tree::default();
    let mut findings = Vec::new();
    let mut root = read(&mut tree, "0.yaml", layers[0]);
    check_lowest(&mut tree, root, &mut findings);
    for (number, layer) in layers.iter().enumerate().skip(1) {
        let over = read(&mut tree, &format!("{number}.yaml"), layer);
        root = merge(&mut tree, root, over, shape, &mut findings);
    }
    if findings.is_empty() {
        return Ok(value(&tree, root));
    }
    Err(findings.iter().map(|finding| format!("{} {}", finding.origins[0], finding.code)).collect())
}

#[test]
fn maps_merge_lists_replace_and_tags_say_otherwise() {
    for (layers, expected) in [
        (vec!["a: 1\nb: {c: 1, d: 2}", "b: {d: 3, e: 4}\nf: 5"], json!({"a": 1, "b": {"c": 1, "d": 3, "e": 4}, "f": 5})),
        (vec!["a: [1, 2, 3]", "a: [4]"], json!({"a": [4]})),
        (vec!["a: {b: 1, c: 2}", "a: {b: !delete }"], json!({"a": {"c": 2}})),
        (vec!["a: {b: 1, c: 2}", "a: !replace {d: 3}"], json!({"a": {"d": 3}})),
        (vec!["a: {b: 1}", "a: {b: !delete }", "a: {b: 2}"], json!({"a": {"b": 2}})),
        (vec!["a: 1", "a: 2", "a: 3"], json!({"a": 3})),
    ] {
        assert_eq!(merged(&layers, &Shape::Any), Ok(expected), "{layers:?}");
    }
}

#[test]
fn a_list_with_a_merge_key_merges_item_by_item() {
    let list = Shape::List { item: Arc::new(Shape::Any), merge_key: Some("name".to_owned()) };
    let field = crate::shape::Field { name: "ports".to_owned(), shape: Arc::new(list), required: false, program: false };
    let shape = Shape::Map { fields: vec![field], rest: None };
    let base = "ports: [{name: http, port: 80}, {name: metrics, port: 9090}]";
    for (over, expected) in [
        ("ports: [{name: metrics, port: 1}]", json!([{"name": "http", "port": 80}, {"name": "metrics", "port": 1}])),
        ("ports: [{name: grpc, port: 2}, !delete {name: http}]", json!([{"name": "metrics", "port": 9090}, {"name": "grpc", "port": 2}])),
        ("ports: [!replace {name: http, x: 1}]", json!([{"name": "http", "x": 1}, {"name": "metrics", "port": 9090}])),
    ] {
        assert_eq!(merged(&[base, over], &shape), Ok(json!({"ports": expected})), "{over}");
    }
    assert_eq!(merged(&[base, "ports: [!delete {name: x}]"], &shape), Err(vec!["1.yaml:1:9 delete-missing".to_owned()]));
}

#[test]
fn deleting_or_replacing_nothing_is_an_error() {
    for (layers, expected) in [
        (vec!["a: 1", "b: !delete "], vec!["1.yaml:1:1 delete-missing"]),
        (vec!["a: 1", "b: !replace {c: 1}"], vec!["1.yaml:1:1 replace-missing"]),
        (vec!["a: !delete ", "b: {c: !delete }"], vec!["0.yaml:1:1 delete-missing", "1.yaml:1:5 delete-missing"]),
        (vec!["a: {b: 1}", "a: !replace {b: !delete }"], vec!["1.yaml:1:14 delete-missing"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(merged(&layers, &Shape::Any), Err(expected), "{layers:?}");
    }
}

#[test]
fn each_value_remembers_what_it_overrode() {
    let mut tree = Tree::default();
    let layers: Vec<NodeId> = [("a.yaml", "x: {y: 1}"), ("b.yaml", "\nx: {z: 0, y: 2}"), ("c.yaml", "x:\n  y: 3")]
        .into_iter()
        .map(|(name, text)| read(&mut tree, name, text))
        .collect();
    let mut findings = Vec::new();
    let first = merge(&mut tree, layers[0], layers[1], &Shape::Any, &mut findings);
    let root = merge(&mut tree, first, layers[2], &Shape::Any, &mut findings);
    let y = tree.entry(tree.entry(root, "x").unwrap().value, "y").unwrap().value;
    let places: Vec<String> = tree.history(y).iter().map(|node| tree.origin(tree.node(*node).place).to_string()).collect();
    assert_eq!(places, ["c.yaml:2:6", "b.yaml:2:14", "a.yaml:1:8"]);
}

/// Maps whose kinds of values agree, as the schema makes them: `m*` are maps, the rest scalars.
fn layer() -> impl Strategy<Value = Value> {
    let scalars = prop::collection::btree_map("[abc]", 0..5i32, 0..3);
    let leaf = scalars.prop_map(|map| json!(map));
    leaf.prop_recursive(3, 16, 3, |inner| {
        (prop::collection::btree_map("[abc]", 0..5i32, 0..3), prop::collection::btree_map("m[xyz]", inner, 0..3)).prop_map(
            |(scalars, maps)| {
                let mut all = json!(scalars);
                for (key, map) in maps {
                    all[key] = map;
                }
                all
            },
        )
    })
}

proptest! {
    #[test]
    fn merging_is_associative_where_kinds_agree(a in layer(), b in layer(), c in layer()) {
        let mut tree = Tree::default();
        let mut findings = Vec::new();
        let [a, b, c] = [a, b, c].map(|value| read(&mut tree, "x.yaml", &format!("root: {value}")));
        let left = merge(&mut tree, a, b, &Shape::Any, &mut findings);
        let left = merge(&mut tree, left, c, &Shape::Any, &mut findings);
        let right = merge(&mut tree, b, c, &Shape::Any, &mut findings);
        let right = merge(&mut tree, a, right, &Shape::Any, &mut findings);
        prop_assert_eq!(value(&tree, left), value(&tree, right));
        prop_assert!(findings.is_empty());
    }
}
