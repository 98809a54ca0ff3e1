//! Objects against the API's schemas: what is found, as data in `openapi/cases.yaml`.

#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

use provision_config::{SchemaSubject, Schemas, check_schemas};
use provision_model::{Finding, Manifest, Origin, Severity};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    target: Option<String>,
    object: Value,
    #[serde(default)]
    expect: Vec<String>,
}

fn crds() -> Vec<Value> {
    serde_yaml::from_multiple(include_str!("openapi/crds.yaml")).unwrap()
}

fn text(finding: &Finding) -> String {
    let severity = if finding.severity == Severity::Warning { "warning " } else { "" };
    let help = finding.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
    format!("{severity}{}: {}{help}", finding.code, finding.message)
}

fn manifest(value: Value) -> Manifest {
    Manifest::try_from(value).unwrap()
}

/// Checks objects as if each stood in a line of its own.
fn check(objects: &[Manifest], crds: &[Value]) -> Vec<Finding> {
    let origins: Vec<Origin> = (1..=objects.len()).map(|line| Origin::new("set.yaml", u32::try_from(line).unwrap(), 1)).collect();
    let subjects: Vec<SchemaSubject<'_>> =
        objects.iter().zip(&origins).map(|(manifest, origin)| SchemaSubject { manifest, origin }).collect();
    check_schemas(&subjects, "1.36", crds)
}

#[test]
fn each_object_has_the_findings_of_the_table() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("openapi/cases.yaml")).unwrap();
    let crds = crds();
    let mut wrong = Vec::new();
    for case in cases {
        let object = manifest(case.object);
        let origin = Origin::new("set.yaml", 7, 1);
        let subject = SchemaSubject { manifest: &object, origin: &origin };
        let findings = check_schemas(&[subject], case.target.as_deref().unwrap_or("1.36"), &crds);
        for finding in findings.iter().filter(|finding| finding.code.0 != "unknown-target") {
            assert_eq!((&finding.resource, finding.origins.as_slice()), (&Some(object.id()), &[origin.clone()][..]), "{}", case.name);
        }
        let found: Vec<String> = findings.iter().map(text).collect();
        if found != case.expect {
            wrong.push(format!("{}\n  found {found:#?}\n  expected {:#?}", case.name, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_definition_in_the_set_comes_before_a_known_one_and_serves_its_own_objects() {
    let definition = |field: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {"spec": {"type": "object", "properties": {field: {"type": "string"}}}}}}}],
            },
        })
    };
    let widget = manifest(json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"own": "x"}}));
    assert_eq!(check(&[widget.clone(), manifest(definition("own"))], &crds()), []);
    let found: Vec<String> = check(&[widget, manifest(definition("other"))], &crds()).iter().map(text).collect();
    assert_eq!(found, ["unknown-field: `spec.own` is no field of `example.com/v2` Widget (known here: `other`)"]);
}

#[test]
fn a_broken_definition_in_the_set_is_said_once_and_checks_what_it_can() {
    let definitions = crds();
    let planet = manifest(json!({"apiVersion": "example.com/v1", "kind": "Planet", "metadata": {"name": "p"}, "rings": 1, "orbit": 2}));
    let found = check(&[planet, manifest(definitions[1].clone())], &definitions);
    let codes: Vec<(&str, &str)> =
        found.iter().map(|finding| (finding.code.0.as_str(), finding.resource.as_ref().map_or("", |id| &id.name))).collect();
    assert_eq!(codes, [("crd-invalid", "planets.example.com"), ("crd-invalid", "planets.example.com"), ("unknown-field", "p")]);
}

#[test]
fn an_unknown_kind_is_said_once_for_all_of_its_objects() {
    let object = |name: &str| manifest(json!({"apiVersion": "a.b/v1", "kind": "C", "metadata": {"name": name}}));
    let found = check(&[object("x"), object("y"), object("z")], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message, "no schema for `a.b/v1` C: its fields are not checked (3 objects)");
    assert_eq!(found[0].origins, [Origin::new("set.yaml", 1, 1)]);
}

#[test]
fn what_is_no_definition_is_said() {
    let crd = |version: &str| json!({"apiVersion": version, "kind": "CustomResourceDefinition", "metadata": {"name": "x"}, "spec": {"group": "g.h"}});
    let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    let found: Vec<String> =
        check(&[], &[crd("apiextensions.k8s.io/v1"), crd("apiextensions.k8s.io/v1beta1"), other]).iter().map(text).collect();
    assert_eq!(
        found,
        [
            "crd-invalid: the definition x needs `spec.names.kind`",
            "crd-invalid: the definition x has apiextensions.k8s.io/v1beta1; only apiextensions.k8s.io/v1 is read",
            "crd-invalid: an object among the custom resource definitions is none: Pod p",
        ]
    );
}

#[test]
fn findings_carry_the_object_and_the_field_as_data() {
    let (schemas, problems) = Schemas::new("1.36", Vec::new());
    assert_eq!(problems, []);
    let good = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}));
    let bad = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x.y": 1}}));
    let origin = Origin::new("set.yaml", 1, 1);
    let found = schemas.check(&[SchemaSubject { manifest: &good, origin: &origin }, SchemaSubject { manifest: &bad, origin: &origin }]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, 1);
    assert_eq!(found[0].field.as_ref().and_then(|field| field.lookup(bad.value())), Some(&json!(1)));
    assert!(found[0].finding.message.starts_with("`data[\"x.y\"]` is a number"), "{}", found[0].finding.message);
}

#[test]
fn kinds_say_whether_they_live_in_a_namespace() {
    let (schemas, _) = Schemas::new("1.36", crds());
    for (api_version, kind, expected) in [
        ("v1", "Pod", Some(true)),
        ("v1", "Namespace", Some(false)),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", Some(false)),
        ("example.com/v1", "Widget", Some(true)),
        ("example.com/v1", "Planet", Some(false)),
        ("example.com/v1beta1", "Widget", None),
        ("extensions/v1beta1", "Ingress", None),
        ("a.b/v1", "C", None),
    ] {
        assert_eq!(schemas.namespaced(api_version, kind), expected, "{api_version} {kind}");
    }
}
