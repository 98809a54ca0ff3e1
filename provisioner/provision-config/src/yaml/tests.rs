use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tree::{ReadRules, Tree, read_documents};

fn read_back(text: &str) -> Value {
    let mut tree = Tree::default();
    let documents = read_documents(&mut tree, "x.yaml", text, ReadRules { merge_tags: false, single_document: true }).unwrap();
    documents.first().map_or(Value::Null, |root| tree.json(*root))
}

#[test]
fn objects_read_well() {
    let value = json!({
        "apiVersion": "v1",
        "data": {"A": "NO", "B": "a: b", "script": "line 1\n  line 2\n", "empty": "", "n": "10"},
        "items": [{"name": "x", "args": ["--a=b", "$(X)"]}, [1, 2.5], {}],
    });
    let expected = "apiVersion: v1\ndata:\n  A: \"NO\"\n  B: \"a: b\"\n  script: |\n    line 1\n      line 2\n  empty: \"\"\n  \"n\": \"10\"\nitems:\n- name: x\n  args:\n  - \"--a=b\"\n  - $(X)\n- - 1\n  - 2.5\n- {}\n";
    assert_eq!(value_to_yaml(&value), expected);
    assert_eq!(read_back(expected), value);
}

/// Texts that some reader of YAML takes for something else.
#[rustfmt::skip]
const AMBIGUOUS: &[&str] = &[
    "y", "Y", "n", "yes", "No", "NO", "on", "Off", "true", "TRUE", "null", "~", "", "1", "1.10", "1e7", "0777", "0o7", "0x1F",
    "0b1", "1_000", "190:20:30", "2026-01-02", "2026-01-02T03:04:05Z", ".5", ".inf", ".NaN", "-1", "+1", "-", "- a", "? a",
    "a: b", "a:", "a #b", "#a", "&a", "*a", "!a", "|", ">", "'a'", "\"a\"", "@a", "`a`", "{a}", "[a]", "a\tb", " a", "a ", "=",
    "<<", "%a", "1,000", "12e03", "\u{2028}", "\u{1}",
];

#[test]
fn what_some_yaml_reads_otherwise_is_quoted() {
    for text in AMBIGUOUS {
        let written = value_to_yaml(&json!({ "k": text }));
        assert!(written.starts_with("k: \""), "{text:?} is written {written}");
        assert_eq!(read_back(&written), json!({ "k": text }));
    }
    for text in ["abc", "a-b", "/var/lib", "5m", "10Mi", "registry.example.com/x@sha256:ab", "a=b", "http://x.y:80/z", "text with spaces"] {
        assert_eq!(value_to_yaml(&json!({ "k": text })), format!("k: {text}\n"));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ \n\ta:#'\"|>-]{0,12}".prop_map(Value::from),
        "[0-9.eE+_:-]{1,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        prop_assert_eq!(read_back(&value_to_yaml(&json!({ "root": value.clone() }))), json!({ "root": value }));
    }
}
