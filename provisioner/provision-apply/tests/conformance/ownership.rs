//! Who owns which field, and what becomes of fields that are applied no more.

use serde_json::json;

use super::rules::{config, deployment, with, without};
use super::table::Expect::{Accepted, Generation, Has, Lacks, Owns, OwnsNot, Unwritten};
use super::table::Step::{Apply, Create, DryRun, Update};
use super::table::{Rule, rule};

/// Fields, alone and shared with other owners.
pub(crate) fn fields(ns: &str) -> Vec<Rule> {
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
    ]
}

/// Lists that merge item by item.
pub(crate) fn structures(ns: &str) -> Vec<Rule> {
    let app = deployment(ns, "owned");
    let env = "/spec/template/spec/containers/0/env";
    vec![rule(
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
    )]
}

/// Defaults of the server, and answers that are not kept.
pub(crate) fn defaults(ns: &str) -> Vec<Rule> {
    vec![
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
