//! Rules about single objects.

use provision_apply::{Cluster, WriteMode};
use provision_model::Manifest;
use serde_json::{Value, json};

use super::table::Expect::{Accepted, Cause, Generation, Has, Lacks, Owns, OwnsNot, Refused, RefusedAs, Unwritten};
use super::table::Step::{Apply, Create, DryRun, Update, UpdateAsIs};
use super::table::{Rule, rule, violations};

/// Checks every rule in a namespace of its own.
pub(crate) async fn check(cluster: &impl Cluster, namespace: &str) {
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    cluster.apply(&Manifest::try_from(home).unwrap(), WriteMode::Persist).await.unwrap();
    let mut found = Vec::new();
    let groups = [ownership(namespace), preconditions(namespace), generations(namespace), immutable(namespace), validation(namespace)];
    for rule in groups.iter().flatten() {
        found.extend(violations(cluster, rule).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn config(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

fn deployment(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "example.invalid/app:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "ports": [{"containerPort": 8080, "name": "http"}]}]}}}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn without(mut object: Value, parent: &str, field: &str) -> Value {
    object.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(field);
    object
}

fn ownership(ns: &str) -> Vec<Rule> {
    let app = deployment(ns, "owned");
    let env = "/spec/template/spec/containers/0/env";
    vec![
        rule(
            "an applied field is owned, and goes when it is applied no more",
            vec![
                (
                    Apply(config(ns, "o1", &json!({"a": "1", "b": "2"}))),
                    vec![Has("/data/a", json!("1")), Owns("Apply", &["f:data", "f:b"]), OwnsNot("Apply", &["f:metadata"])],
                ),
                (
                    Apply(config(ns, "o1", &json!({"b": "2"}))),
                    vec![Lacks("/data/a"), Has("/data/b", json!("2")), OwnsNot("Apply", &["f:data", "f:a"])],
                ),
            ],
        ),
        rule(
            "the same apply again writes nothing",
            vec![
                (Apply(deployment(ns, "o2")), vec![Generation(1)]),
                (Apply(deployment(ns, "o2")), vec![Generation(1)]),
                (Apply(config(ns, "o3", &json!({"a": "1"}))), vec![Accepted]),
                (Apply(config(ns, "o3", &json!({"a": "1"}))), vec![Unwritten]),
            ],
        ),
        rule(
            "a field that another owner holds too stays",
            vec![
                (Create(config(ns, "o4", &json!({"a": "1", "b": "2"}))), vec![Owns("Update", &["f:data", "f:a"])]),
                (Apply(config(ns, "o4", &json!({"a": "1"}))), vec![Has("/data/b", json!("2")), Owns("Apply", &["f:data", "f:a"])]),
                (Apply(config(ns, "o4", &json!({}))), vec![Has("/data/a", json!("1")), OwnsNot("Apply", &["f:data", "f:a"])]),
            ],
        ),
        rule(
            "a forced apply takes over the field that it changes",
            vec![
                (Create(config(ns, "o5", &json!({"a": "1"}))), vec![Owns("Update", &["f:data", "f:a"])]),
                (
                    Apply(config(ns, "o5", &json!({"a": "2"}))),
                    vec![Has("/data/a", json!("2")), Owns("Apply", &["f:data", "f:a"]), OwnsNot("Update", &["f:data", "f:a"])],
                ),
            ],
        ),
        rule(
            "an update takes over the field that it changes",
            vec![
                (Apply(config(ns, "o6", &json!({"a": "1", "b": "1"}))), vec![Accepted]),
                (
                    Update(config(ns, "o6", &json!({"a": "2", "b": "1"}))),
                    vec![Owns("Update", &["f:data", "f:a"]), OwnsNot("Apply", &["f:data", "f:a"]), Owns("Apply", &["f:data", "f:b"])],
                ),
            ],
        ),
        rule(
            "lists of containers and variables merge item by item",
            vec![
                (
                    Apply(app.clone()),
                    vec![
                        Owns(
                            "Apply",
                            &[
                                "f:spec",
                                "f:template",
                                "f:spec",
                                "f:containers",
                                "k:{\"name\":\"app\"}",
                                "f:env",
                                "k:{\"name\":\"B\"}",
                                "f:value",
                            ],
                        ),
                        Owns(
                            "Apply",
                            &[
                                "f:spec",
                                "f:template",
                                "f:spec",
                                "f:containers",
                                "k:{\"name\":\"app\"}",
                                "f:ports",
                                "k:{\"containerPort\":8080,\"protocol\":\"TCP\"}",
                            ],
                        ),
                        Owns("Apply", &["f:spec", "f:selector"]),
                        Has("/spec/template/spec/containers/0/ports/0/protocol", json!("TCP")),
                    ],
                ),
                (Apply(with(app.clone(), env, json!([{"name": "B", "value": "2"}]))), vec![Has(env, json!([{"name": "B", "value": "2"}]))]),
            ],
        ),
        rule(
            "a field that nobody owns any more falls back to its default",
            vec![
                (
                    Apply(with(deployment(ns, "o7"), "/spec/revisionHistoryLimit", json!(3))),
                    vec![Has("/spec/revisionHistoryLimit", json!(3))],
                ),
                (Apply(deployment(ns, "o7")), vec![Has("/spec/revisionHistoryLimit", json!(10))]),
            ],
        ),
        rule(
            "a structure that is applied no more goes with its defaults",
            vec![
                (
                    Apply(with(
                        deployment(ns, "o8"),
                        "/spec/template/spec/containers/0/livenessProbe",
                        json!({"tcpSocket": {"port": 8080}}),
                    )),
                    vec![Has("/spec/template/spec/containers/0/livenessProbe/periodSeconds", json!(10))],
                ),
                (Apply(deployment(ns, "o8")), vec![Lacks("/spec/template/spec/containers/0/livenessProbe"), Generation(2)]),
            ],
        ),
        rule(
            "replicas that are applied no more stay when another owner set them",
            vec![
                (Apply(without(deployment(ns, "o9"), "/spec", "replicas")), vec![Has("/spec/replicas", json!(1))]),
                (Update(with(deployment(ns, "o9"), "/spec/replicas", json!(0))), vec![Has("/spec/replicas", json!(0))]),
                (Apply(without(deployment(ns, "o9"), "/spec", "replicas")), vec![Has("/spec/replicas", json!(0))]),
            ],
        ),
        rule(
            "a dry-run answers and changes nothing",
            vec![
                (DryRun(config(ns, "o10", &json!({"a": "1"}))), vec![Has("/data/a", json!("1"))]),
                (Create(config(ns, "o10", &json!({"a": "2"}))), vec![Accepted]),
                (DryRun(config(ns, "o10", &json!({"a": "3"}))), vec![Has("/data/a", json!("3"))]),
                (Apply(config(ns, "o10", &json!({}))), vec![Has("/data/a", json!("2"))]),
            ],
        ),
    ]
}

fn preconditions(ns: &str) -> Vec<Rule> {
    let uid = "99999999-9999-4999-8999-999999999999";
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
                // The server calls this a change of an immutable field.
                (Apply(with(config(ns, "p2", &json!({"a": "2"})), "/metadata/uid", json!(uid))), vec![RefusedAs(&["Conflict", "Invalid"])]),
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

fn immutable(ns: &str) -> Vec<Rule> {
    let object = |kind: &str, group: &str, name: &str, rest: Value| {
        let mut object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": ns}});
        for (field, value) in rest.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    };
    let job = |name: &str, suspend: bool, image: &str| {
        object(
            "Job",
            "batch/v1",
            name,
            json!({"spec": {"suspend": suspend, "parallelism": 0, "template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "a", "image": image}]}}}}),
        )
    };
    let secret = |value: &str| object("Secret", "v1", "i3", json!({"immutable": true, "data": {"a": value}}));
    let binding = |role: &str| {
        let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        object("RoleBinding", "rbac.authorization.k8s.io/v1", "i4", json!({"roleRef": role_ref, "subjects": []}))
    };
    let service =
        |ip: &str| object("Service", "v1", "i5", json!({"spec": {"clusterIP": ip, "ports": [{"port": 80}], "selector": {"a": "b"}}}));
    let set = |service: &str| {
        object(
            "StatefulSet",
            "apps/v1",
            "i6",
            json!({"spec": {"replicas": 0, "serviceName": service,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}}}),
        )
    };
    let mut selector = with(deployment(ns, "i1"), "/spec/selector/matchLabels", json!({"app": "other"}));
    selector["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let pair = |name, first: Value, second: Value, cause| {
        rule(name, vec![(Apply(first), vec![Accepted]), (DryRun(second.clone()), vec![cause]), (Apply(second), vec![Refused("Invalid")])])
    };
    vec![
        pair(
            "the selector of a Deployment",
            deployment(ns, "i1"),
            selector,
            Cause("spec.selector", "FieldValueInvalid", "field is immutable"),
        ),
        pair(
            "the template of a Job",
            job("i2", false, "a"),
            job("i2", false, "b"),
            Cause("spec.template", "FieldValueInvalid", "field is immutable"),
        ),
        pair(
            "the pod of a suspended Job",
            job("i7", true, "a"),
            job("i7", true, "b"),
            Cause("spec.template.spec", "FieldValueInvalid", "field is immutable"),
        ),
        pair("an immutable Secret", secret("YQ=="), secret("Yg=="), Cause("data", "FieldValueForbidden", "")),
        pair("the role of a RoleBinding", binding("a"), binding("b"), Cause("roleRef", "FieldValueInvalid", "cannot change roleRef")),
        pair(
            "the address of a Service",
            service("None"),
            service("10.96.0.77"),
            Cause("spec.clusterIPs[0]", "FieldValueInvalid", "may not change once set"),
        ),
        rule(
            "a Service keeps its address when none is named",
            vec![(Apply(service("None")), vec![Accepted]), (Apply(service("")), vec![Has("/spec/clusterIP", json!("None"))])],
        ),
        pair(
            "the service of a StatefulSet",
            set("a"),
            set("b"),
            Cause("spec", "FieldValueForbidden", "updates to statefulset spec for fields other than"),
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
                // The server itself answers 500.
                vec![RefusedAs(&["Invalid", "Server"])],
            )],
        ),
    ]
}
