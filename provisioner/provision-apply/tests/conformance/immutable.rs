//! Fields that can't be changed in place.

use serde_json::{Value, json};

use super::rules::{config, deployment, with};
use super::table::Expect::{self, Accepted, Cause, Has, Refused};
use super::table::Step::{Apply, DryRun};
use super::table::{Rule, rule};

/// Each with the words in which the server says so.
pub(crate) fn immutable(ns: &str) -> Vec<Rule> {
    vec![
        pair(
            "the selector of a Deployment",
            deployment(ns, "i1"),
            other_selector(ns, "i1"),
            Cause("spec.selector", "FieldValueInvalid", "field is immutable"),
        ),
        pair(
            "the template of a Job",
            job(ns, "i2", false, "a"),
            job(ns, "i2", false, "b"),
            Cause("spec.template", "FieldValueInvalid", "field is immutable"),
        ),
        pair(
            "the pod of a suspended Job",
            job(ns, "i7", true, "a"),
            job(ns, "i7", true, "b"),
            Cause("spec.template.spec", "FieldValueInvalid", "field is immutable"),
        ),
        pair(
            "an immutable ConfigMap",
            with(config(ns, "i8", &json!({"a": "1"})), "/immutable", json!(true)),
            with(config(ns, "i8", &json!({"a": "2"})), "/immutable", json!(true)),
            Cause("data", "FieldValueForbidden", "field is immutable when `immutable` is set"),
        ),
        pair("an immutable Secret", secret(ns, "YQ=="), secret(ns, "Yg=="), Cause("data", "FieldValueForbidden", "")),
        pair(
            "the role of a RoleBinding",
            binding(ns, "a"),
            binding(ns, "b"),
            Cause("roleRef", "FieldValueInvalid", "cannot change roleRef"),
        ),
        pair(
            "the address of a Service",
            service(ns, "None"),
            service(ns, "10.96.0.77"),
            Cause("spec.clusterIPs[0]", "FieldValueInvalid", "may not change once set"),
        ),
        rule(
            "a Service keeps its address when none is named",
            vec![(Apply(service(ns, "None")), vec![Accepted]), (Apply(service(ns, "")), vec![Has("/spec/clusterIP", json!("None"))])],
        ),
        pair(
            "the service of a StatefulSet",
            set(ns, "a"),
            set(ns, "b"),
            Cause("spec", "FieldValueForbidden", "updates to statefulset spec for fields other than"),
        ),
    ]
}

/// The first is accepted; the second is refused because of the field, whether it is to be kept or not.
fn pair(name: &'static str, first: Value, second: Value, cause: Expect) -> Rule {
    rule(name, vec![(Apply(first), vec![Accepted]), (DryRun(second.clone()), vec![cause]), (Apply(second), vec![Refused("Invalid")])])
}

fn object(ns: &str, kind: (&str, &str), name: &str, field: (&str, Value)) -> Value {
    json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name, "namespace": ns}, field.0: field.1})
}

fn other_selector(ns: &str, name: &str) -> Value {
    let labels = json!({"app": "other"});
    let object = with(deployment(ns, name), "/spec/selector/matchLabels", labels.clone());
    with(object, "/spec/template/metadata/labels", labels)
}

fn job(ns: &str, name: &str, suspend: bool, image: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]});
    object(ns, ("batch/v1", "Job"), name, ("spec", json!({"suspend": suspend, "parallelism": 0, "template": {"spec": pod}})))
}

fn secret(ns: &str, value: &str) -> Value {
    with(object(ns, ("v1", "Secret"), "i3", ("data", json!({"a": value}))), "/immutable", json!(true))
}

fn binding(ns: &str, role: &str) -> Value {
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
    object(ns, ("rbac.authorization.k8s.io/v1", "RoleBinding"), "i4", ("roleRef", role_ref))
}

fn service(ns: &str, address: &str) -> Value {
    object(ns, ("v1", "Service"), "i5", ("spec", json!({"clusterIP": address, "ports": [{"port": 80}], "selector": {"a": "b"}})))
}

fn set(ns: &str, service: &str) -> Value {
    let pod = json!({"containers": [{"name": "a", "image": "b"}]});
    let spec = json!({"replicas": 0, "serviceName": service, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}});
    object(ns, ("apps/v1", "StatefulSet"), "i6", ("spec", spec))
}
