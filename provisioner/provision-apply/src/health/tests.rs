use jiff::Timestamp;
use provision_model::Health;
use serde::Deserialize;
use serde_json::Value;

use super::{StatusLine, explain_logs, judge};

/// One case of a file in `tests/health`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// Status and, if any, reason.
    expect: Vec<String>,
    exit_code: Option<i32>,
    /// Part of the message or of its evidence.
    says: Option<String>,
    /// Part of the next step.
    next: Option<String>,
    /// Row of the table of verdicts that are known to be wrong elsewhere.
    #[serde(rename = "better")]
    _better: Option<String>,
    objects: Vec<Value>,
}

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn check_file(name: &str, at_least: usize) {
    let path = format!("{}/tests/health/{name}", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Case> = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= at_least, "{name} has only {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(mismatch).collect();
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

fn mismatch(case: &Case) -> Option<String> {
    let line = StatusLine::of_stream(&case.objects, now()).unwrap().unwrap();
    let mut got = vec![line.status.to_string()];
    got.extend(line.reason.map(|reason| reason.to_string()));
    if got != case.expect {
        return Some(format!("- {}: expected {:?}, got {got:?} ({})", case.case, case.expect, line.message));
    }
    let objects = manifests(&case.objects);
    let context: Vec<_> = objects[1..].iter().collect();
    let verdict = judge(&objects[0], &context, now());
    let text = format!("{} {}", verdict.message, verdict.evidence.message.clone().unwrap_or_default());
    let says = case.says.as_ref().is_none_or(|part| text.contains(part.as_str()));
    let next = case.next.as_ref().is_none_or(|part| verdict.next.as_deref().unwrap_or_default().contains(part.as_str()));
    let explained = verdict.health != Health::Failed || verdict.cause.is_none() || verdict.next.is_some();
    if verdict.evidence.exit_code == case.exit_code.or(verdict.evidence.exit_code) && says && next && explained {
        return None;
    }
    Some(format!("- {}: {verdict:?}", case.case))
}

fn manifests(objects: &[Value]) -> Vec<provision_model::Manifest> {
    let named = objects.iter().map(|object| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().entry("name").or_insert_with(|| "a".into());
        object.try_into().unwrap()
    });
    named.collect()
}

#[test]
fn objects_get_the_verdict_that_everyone_expects() {
    check_file("kstatus.yaml", 56);
}

#[test]
fn verdicts_that_are_wrong_elsewhere_are_right_here() {
    check_file("corrected.yaml", 17);
}

#[test]
fn causes_are_found_early_and_passing_trouble_is_tolerated() {
    check_file("causes.yaml", 35);
}

fn pod(status: Value) -> provision_model::Manifest {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"containers": [{"name": "web", "readinessProbe": {}}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    });
    object.try_into().unwrap()
}

#[test]
fn the_log_of_the_run_that_ended_explains_a_crash() {
    let crash = |state: Value| {
        let pod = pod(serde_json::json!({
            "name": "web", "restartCount": 1, "state": state, "lastState": {"terminated": {"exitCode": 3}},
        }));
        explain_logs(&judge(&pod, &[], now()), &[&pod]).map(|source| (source.container, source.previous))
    };
    assert_eq!(crash(serde_json::json!({"waiting": {"reason": "CrashLoopBackOff"}})), Some(("web".to_owned(), true)));
    assert_eq!(crash(serde_json::json!({"terminated": {"exitCode": 3}})), Some(("web".to_owned(), false)));
}

#[test]
fn an_image_that_never_ran_has_no_log() {
    let pod = pod(serde_json::json!({"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}}));
    let verdict = judge(&pod, &[], now());
    assert_eq!(verdict.health, Health::Failed);
    assert_eq!(explain_logs(&verdict, &[&pod]), None);
}

#[test]
fn an_empty_stream_has_no_status() {
    assert_eq!(StatusLine::of_stream(&[], now()).unwrap(), None);
}

#[test]
fn a_status_line_has_the_fields_of_the_contract() {
    let documents = [serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}})];
    let line = StatusLine::of_stream(&documents, now()).unwrap().unwrap();
    let expected = serde_json::json!({"resource": "ConfigMap/n/a", "status": "Current", "reason": null, "message": "it is there"});
    assert_eq!(serde_json::to_value(line).unwrap(), expected);
}
