//! Rules about single objects.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use provision_apply::{Cluster, WriteMode};
use provision_model::Manifest;
use serde_json::{Value, json};

use super::table::Expect::{Accepted, Cause, Generation, Has, Lacks, OwnsNot, Refused, Unwritten};
use super::table::Step::{Apply, Create, DryRun, Update, UpdateAsIs};
use super::table::{Expect, Rule, Step, rule, violations};
use super::{immutable, ownership};

/// Checks every rule in a namespace of its own.
pub(crate) async fn check(cluster: &impl Cluster, namespace: &str) {
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    cluster.apply(&Manifest::try_from(home).unwrap(), WriteMode::Persist).await.unwrap();
    let mut found = Vec::new();
    let groups = [
        ownership::fields(namespace),
        ownership::structures(namespace),
        ownership::defaults(namespace),
        preconditions(namespace),
        generations(namespace),
        immutable::immutable(namespace),
        validation(namespace),
    ];
    for rule in groups.iter().flatten() {
        found.extend(violations(cluster, rule).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

pub(crate) fn config(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

pub(crate) fn deployment(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "example.invalid/app:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "ports": [{"containerPort": 8080, "name": "http"}]}]}}}})
}

pub(crate) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

pub(crate) fn without(mut object: Value, parent: &str, field: &str) -> Value {
    object.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(field);
    object
}

fn preconditions(ns: &str) -> Vec<Rule> {
    let uid = "99999999-9999-4999-8999-999999999999";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "p4", "namespace": ns},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "p4", "namespace": ns},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "p4"}}});
    vec![
        rule(
            "what is there can't be created, what is not there can't be replaced",
            vec![
                (Create(config(ns, "p1", &json!({}))), vec![Accepted]),
                (Create(config(ns, "p1", &json!({}))), vec![Refused("AlreadyExists")]),
                (UpdateAsIs(config(ns, "p1-absent", &json!({}))), vec![Refused("NotFound")]),
            ],
        ),
        rule(
            "another UID or version refuses the write",
            vec![
                (Apply(config(ns, "p2", &json!({"a": "1"}))), vec![Accepted]),
                (Apply(with(config(ns, "p2", &json!({"a": "2"})), "/metadata/uid", json!(uid))), vec![Refused("Conflict")]),
                (Apply(with(config(ns, "p2", &json!({"a": "2"})), "/metadata/resourceVersion", json!("1"))), vec![Refused("Conflict")]),
                (
                    UpdateAsIs(with(config(ns, "p2", &json!({"a": "2"})), "/metadata/resourceVersion", json!("1"))),
                    vec![Refused("Conflict")],
                ),
                (Apply(with(config(ns, "p2-absent", &json!({})), "/metadata/uid", json!(uid))), vec![Refused("Conflict")]),
                (Update(config(ns, "p2", &json!({"a": "3"}))), vec![Has("/data/a", json!("3"))]),
            ],
        ),
        rule(
            "an apply with the version 1 makes what is absent and leaves what is there",
            [config(ns, "p4", &json!({"a": "1"})), role, service].into_iter().flat_map(made_once).collect(),
        ),
        rule(
            "no object has the version 1, not even the first",
            vec![(
                Apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "resourceVersion": "1"}})),
                vec![Refused("Conflict")],
            )],
        ),
        rule(
            "a namespace and a kind must be there",
            vec![
                (Apply(config("conformance-nowhere", "p3", &json!({}))), vec![Refused("NotFound")]),
                (
                    Apply(json!({"apiVersion": "nowhere.invalid/v1", "kind": "Thing", "metadata": {"name": "p3", "namespace": ns}})),
                    vec![Refused("NotFound")],
                ),
            ],
        ),
    ]
}

fn made_once(object: Value) -> Vec<(Step, Vec<Expect>)> {
    let once = |object: &Value| with(object.clone(), "/metadata/resourceVersion", json!("1"));
    let other = with(object.clone(), "/metadata/labels", json!({"other": "yes"}));
    vec![
        (DryRun(once(&object)), vec![Accepted]),
        (Apply(once(&object)), vec![Accepted]),
        (Apply(once(&object)), vec![Refused("Conflict")]),
        (Apply(once(&other)), vec![Refused("Conflict")]),
        (DryRun(once(&other)), vec![Refused("Conflict")]),
        (Apply(object), vec![Unwritten, Lacks("/metadata/labels")]),
    ]
}

fn generations(ns: &str) -> Vec<Rule> {
    let labelled = with(deployment(ns, "g1"), "/metadata/labels", json!({"a": "b"}));
    vec![
        rule(
            "the generation counts changes of the spec only",
            vec![
                (Apply(deployment(ns, "g1")), vec![Generation(1)]),
                (Apply(labelled.clone()), vec![Generation(1), Has("/metadata/labels/a", json!("b"))]),
                (Apply(with(labelled, "/spec/minReadySeconds", json!(3))), vec![Generation(2)]),
            ],
        ),
        rule("a ConfigMap has no generation", vec![(Apply(config(ns, "g2", &json!({}))), vec![Lacks("/metadata/generation")])]),
        rule(
            "a status in an applied object is left out",
            vec![(
                Apply(with(deployment(ns, "g3"), "/status", json!({"replicas": 7}))),
                vec![Lacks("/status/replicas"), OwnsNot("Apply", &["f:status"])],
            )],
        ),
    ]
}

fn validation(ns: &str) -> Vec<Rule> {
    let port = |port: i64| with(deployment(ns, "v1"), "/spec/template/spec/containers/0/ports", json!([{"containerPort": port}]));
    let refused = |name, object: Value, cause| {
        rule(name, vec![(DryRun(object.clone()), vec![Refused("Invalid"), cause]), (Create(object), vec![Refused("Invalid")])])
    };
    vec![
        refused(
            "a port out of range",
            port(70000),
            Cause("spec.template.spec.containers[0].ports[0].containerPort", "FieldValueInvalid", "must be between 1 and 65535, inclusive"),
        ),
        refused(
            "a selector that does not select",
            with(deployment(ns, "v2"), "/spec/template/metadata/labels", json!({"app": "x"})),
            Cause("spec.template.metadata.labels", "FieldValueInvalid", "`selector` does not match template `labels`"),
        ),
        refused(
            "no containers",
            with(deployment(ns, "v3"), "/spec/template/spec/containers", json!([])),
            Cause("spec.template.spec.containers", "FieldValueRequired", "Required value"),
        ),
        refused(
            "a name with capitals",
            config(ns, "V4", &json!({})),
            Cause("metadata.name", "FieldValueInvalid", "a lowercase RFC 1123 subdomain"),
        ),
        refused(
            "too much data",
            config(ns, "v5", &json!({"a": "x".repeat(1024 * 1024 + 1)})),
            Cause("[]", "FieldValueTooLong", "Too long"),
        ),
        refused(
            "bounds the wrong way round",
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "v6", "namespace": ns},
                "spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
            Cause("spec.maxReplicas", "FieldValueInvalid", "must be greater than or equal to `minReplicas`"),
        ),
        rule(
            "secret data that is no base64",
            vec![(
                Apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "v7", "namespace": ns}, "data": {"a": "***"}})),
                vec![Refused("Invalid")],
            )],
        ),
    ]
}
