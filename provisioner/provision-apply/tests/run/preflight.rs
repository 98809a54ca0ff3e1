//! What is asked before a run: rights, kinds and versions.

use provision_apply::{Access, Progress, RunOutcome, preflight};
use provision_model::{Finding, ResourceId, Severity};
use serde_json::json;

use crate::world::{NS, STATE, Work, World, config, config_id, depending, deployment, desired, namespace, object, service};

fn access(verb: &str, group: &str, resource: &str) -> Access {
    Access { verb: verb.to_owned(), group: group.to_owned(), resource: resource.to_owned(), namespace: None }
}

fn wanted() -> provision_model::Desired {
    desired(vec![namespace(), config("a", "1"), deployment("api", 1, &[]), service("api")])
}

async fn without(right: Access) -> Vec<Finding> {
    let world = World::new();
    world.cluster.forbid(right);
    preflight(&world.cx(), &wanted()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_needed_is_fatal_and_one_that_is_useful_is_a_warning() {
    for (verb, group, resource, severity, said) in [
        ("patch", "apps", "deployments", Severity::Fatal, "patch deployments.apps in namespace feature-system"),
        ("create", "", "namespaces", Severity::Fatal, "create namespaces in the whole cluster"),
        ("get", "", "namespaces", Severity::Fatal, "get namespaces in the whole cluster"),
        ("update", "coordination.k8s.io", "leases", Severity::Fatal, "update leases.coordination.k8s.io in namespace provision-system"),
        ("watch", "", "pods", Severity::Warning, "watch pods in namespace feature-system: if a workload fails"),
        ("get", "", "pods/log", Severity::Warning, "get pods/log in namespace feature-system: failures will come without log lines"),
        ("get", "", "services/proxy", Severity::Warning, "get services/proxy in namespace feature-system: whether Services answer"),
        ("list", "discovery.k8s.io", "endpointslices", Severity::Warning, "whether Services answer will not be verified"),
    ] {
        let findings = without(access(verb, group, resource)).await;
        assert!(!findings.is_empty(), "{verb} {resource}");
        for finding in &findings {
            assert_eq!((finding.code.0.as_str(), finding.severity), ("forbidden", severity), "{findings:?}");
        }
        assert!(findings.iter().any(|finding| finding.message.contains(said)), "{said}: {findings:?}");
    }
    assert_eq!(preflight(&World::new().cx(), &wanted()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn the_namespace_of_the_record_needs_a_right_only_while_it_is_not_there() {
    let world = World::new();
    let set = desired(vec![object(config("a", "1").manifest.with_metadata_field("namespace", Some(json!("default"))).into(), &[])]);
    world.cluster.forbid(access("create", "", "namespaces"));
    let findings = preflight(&world.cx(), &set).await.unwrap();
    assert_eq!(findings.iter().filter(|finding| finding.severity == Severity::Fatal).count(), 1, "{findings:?}");
    let state = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STATE}});
    world.cluster.create_as("admin", &provision_model::Manifest::try_from(state).unwrap()).unwrap();
    assert_eq!(preflight(&world.cx(), &set).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_workload_object_whose_right_is_needed_is_never_only_useful() {
    let world = World::new();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": NS},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    world.cluster.forbid(access("list", "", "persistentvolumeclaims"));
    let set = desired(vec![namespace(), deployment("api", 1, &[]), object(claim, &[])]);
    let findings = preflight(&world.cx(), &set).await.unwrap();
    assert_eq!(findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Fatal], "{findings:?}");
}

#[tokio::test(start_paused = true)]
async fn what_objects_depend_on_outside_of_the_set_must_be_readable() {
    let world = World::new();
    world.cluster.forbid(access("list", "", "secrets"));
    let elsewhere = ResourceId::namespaced("", "Secret", "kube-system", "ca");
    let set = desired(vec![namespace(), config("b", "1"), depending(config("a", "1"), &[config_id("b"), elsewhere])]);
    let findings = preflight(&world.cx(), &set).await.unwrap();
    let said: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.message.as_str())).collect();
    assert_eq!(said, [(Severity::Fatal, "you may not list secrets in namespace kube-system")]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_may_not_ask_through_services_says_what_it_did_not_verify() {
    let world = World::new();
    world.cluster.forbid(access("get", "", "services/proxy"));
    let outcome = world.run(&Work::Up(wanted())).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    let events = world.events.lock().unwrap();
    let said = events.iter().any(|event| matches!(event, Progress::Finding { finding } if finding.code.0 == "not-verified"));
    assert!(said, "{events:?}");
}
