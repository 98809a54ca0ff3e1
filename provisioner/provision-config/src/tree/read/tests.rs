use proptest::prelude::*;

use super::*;

const RULES: ReadRules = ReadRules { merge_tags: true, single_document: true };

fn problems(text: &str) -> Vec<String> {
    let mut tree = Tree::default();
    match read_documents(&mut tree, "f.yaml", text, RULES) {
        Ok(_) => Vec::new(),
        Err(findings) => findings.iter().map(|finding| format!("{} {}", finding.origins[0], finding.code)).collect(),
    }
}

#[test]
fn each_value_knows_its_place() {
    let mut tree = Tree::default();
    let text = "a: 1\nb:\n  - x\n  - {c: 'NO', ü: yes}\nd:\n";
    let documents = read_documents(&mut tree, "f.yaml", text, RULES).unwrap();
    let root = documents[0];
    let places: Vec<String> = tree
        .entries(root)
        .iter()
        .map(|entry| format!("{} {} {}", entry.key, tree.origin(entry.key_place), tree.origin(tree.node(entry.value).place)))
        .collect();
    assert_eq!(places, ["a f.yaml:1:1 f.yaml:1:4", "b f.yaml:2:1 f.yaml:3:3", "d f.yaml:5:1 f.yaml:5:1"]);
    let Content::List(items) = &tree.node(tree.entry(root, "b").unwrap().value).content else { panic!("a list") };
    let inner = tree.entry(items[1], "ü").unwrap();
    assert_eq!(tree.origin(inner.key_place).to_string(), "f.yaml:4:15");
    assert_eq!(tree.node(inner.value).content, Content::Scalar { text: "yes".to_owned(), plain: true });
}

#[test]
fn every_mistake_has_its_place() {
    for (text, expected) in [
        ("a: 1\na: 2\nb: 3\nb: 4\n", vec!["f.yaml:2:1 duplicate-key", "f.yaml:4:1 duplicate-key"]),
        ("a:\n\tb: 1\n\tc: 2\n", vec!["f.yaml:2:1 tab-indentation", "f.yaml:3:1 tab-indentation"]),
        ("a: 1\n---\nb: 1\n", vec!["f.yaml:2:1 several-documents"]),
        ("a: !nope 1\n", vec!["f.yaml:1:4 unknown-tag"]),
        ("a: &x [*x]\n", vec!["f.yaml:1:8 alias-cycle"]),
        ("? [a]\n: 1\n", vec!["f.yaml:1:3 complex-key"]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", vec!["f.yaml:3:3 merge-key"]),
        ("a: [1, 2\nb: 3\n", vec!["f.yaml:2:2 yaml-syntax"]),
        ("a: *nope\n", vec!["f.yaml:1:4 yaml-syntax"]),
        ("a: b: c\n", vec!["f.yaml:1:5 yaml-syntax"]),
    ] {
        assert_eq!(problems(text), expected, "{text:?}");
    }
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
    }
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("alias-budget"), "{found:?}");
    let deep = format!("a: {}{}", "[".repeat(80), "]".repeat(80));
    assert!(problems(&deep)[0].ends_with("too-deep"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\t\n:\\-\\[\\]{}&*!|>'\"#%@`ü]{0,200}") {
        let _ = problems(&text);
    }
}
