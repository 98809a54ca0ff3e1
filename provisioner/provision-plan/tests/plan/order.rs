//! What comes before what.

use provision_model::{Edge, Plan};

use crate::text::{desired, id};
use crate::world::{World, check_order, codes, lines};

fn edges(edges: &[Edge]) -> Vec<String> {
    let mut shown: Vec<String> = edges.iter().map(|edge| format!("{} < {}", edge.before, edge.after)).collect();
    shown.sort();
    shown
}

fn writes(plan: &Plan) -> Vec<String> {
    plan.changes.iter().filter(|change| change.action.writes()).map(|change| change.id.to_string()).collect()
}

#[test]
fn c3_a_namespace_a_definition_and_its_objects_come_in_one_set() {
    for live_definition in [false, true] {
        let mut world = if live_definition { World::with("crd widgets") } else { World::new() };
        let text = "cr n/w spec.size=1\ndeploy n/api image=a\nns n\ncrd widgets";
        let plan = world.plan(text);
        check_order(&plan);
        assert_eq!(codes(&plan), [""; 0]);
        assert_eq!(world.questions(text), 0);
        let mut expected = vec!["create Namespace/n (not there)", "create Deployment/n/api (not there)", "create Widget/n/w (not there)"];
        if !live_definition {
            expected.insert(1, "create CustomResourceDefinition/widgets (not there)");
        }
        assert_eq!(lines(&plan), expected);
        assert_eq!(
            edges(&plan.edges),
            ["CustomResourceDefinition/widgets < Widget/n/w", "Namespace/n < Deployment/n/api", "Namespace/n < Widget/n/w"]
        );
        world.apply(&plan);
        assert!(world.plan(text).is_empty());
    }
}

#[test]
fn c5_a_chain_is_written_in_order_and_deleted_in_reverse() {
    let text = "job n/j image=a after=deploy:n/d\ndeploy n/d image=a after=cm:n/c\ncm n/c data.x=1\nns n";
    let mut world = World::new();
    let plan = world.up(text);
    let order = ["Namespace/n", "ConfigMap/n/c", "Deployment/n/d", "Job/n/j"];
    assert_eq!(writes(&plan), order);

    // The declared dependencies of what leaves are read from the annotation that the template wrote.
    for (object, on) in [("job:n/j", "Deployment/d"), ("deploy:n/d", "ConfigMap/n/c")] {
        let recorded = world.observed.recorded.get_mut(&id(object)).unwrap();
        recorded.rendered = recorded.rendered.with_annotations(&[("provision.dev/depends-on", on)]);
    }
    let scope = desired("").scope();
    let contents = [("n".to_owned(), vec![])].into();
    let down = provision_plan::plan_down(&scope, &world.observed, &contents);
    check_order(&down);
    assert_eq!(writes(&down), ["Job/n/j", "Deployment/n/d", "ConfigMap/n/c", "Namespace/n"]);
    world.apply(&down);
    assert!(world.observed.live.is_empty() && world.observed.recorded.is_empty());
}

#[test]
fn c5_an_object_that_is_still_needed_cannot_leave() {
    let mut world = World::with("ns n\ncm n/c data.x=1\ndeploy n/d image=a after=cm:n/c\ndeploy n/e config=c");
    let plan = world.plan("ns n\ndeploy n/d image=a after=cm:n/c\ndeploy n/e config=c");
    assert_eq!(codes(&plan), ["Fatal still-needed ConfigMap/n/c", "Fatal still-needed ConfigMap/n/c"]);
    assert_eq!(
        plan.findings[1].message,
        "ConfigMap/n/c would be deleted, but Deployment/n/e still needs it (spec.template.spec.containers[main].envFrom[].configMapRef.name)"
    );
    let plan = World::with("ns n\ncm n/c data.x=1").plan("cm n/c data.x=1");
    assert!(codes(&plan).contains(&"Warning namespace-kept Namespace/n".to_owned()));
}

#[test]
fn c6_a_cycle_is_printed_with_the_origin_of_each_edge() {
    let text = "cm n/a after=cm:n/c\ncm n/b after=cm:n/a\ncm n/c after=cm:n/b\ncm n/d";
    let error = provision_plan::plan(&desired(text), &World::new().observed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these objects wait for each other:\
         \n  ConfigMap/n/b waits for ConfigMap/n/a: declared at t.yaml:2:1\
         \n  ConfigMap/n/c waits for ConfigMap/n/b: declared at t.yaml:3:1\
         \n  ConfigMap/n/a waits for ConfigMap/n/c: declared at t.yaml:1:1"
    );
    let mixed = "cm n/a after=deploy:n/d\ndeploy n/d config=a";
    let error = provision_plan::plan(&desired(mixed), &World::new().observed).unwrap_err();
    assert!(error.to_string().contains("envFrom[].configMapRef.name at t.yaml:2:1"), "{error}");
    assert!(provision_plan::plan(&desired("cm n/a after=cm:n/a"), &World::new().observed).is_err());
}

#[test]
fn c6_an_object_under_two_versions_is_one_object() {
    let text = "deploy n/a image=a\ncm n/b\ndeploy n/a api=apps/v1beta1 image=a\ncm n/b";
    let error = provision_plan::plan(&desired(text), &World::new().observed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rendered twice:\n  Deployment/n/a at t.yaml:1:1 and at t.yaml:3:1\n  ConfigMap/n/b at t.yaml:2:1 and at t.yaml:4:1"
    );
}

#[test]
fn c6_a_default_order_that_would_close_a_cycle_is_dropped_and_listed() {
    let mut world = World::new();
    let plan = world.plan("ns n\nquota n/q after=deploy:n/d\ndeploy n/d image=a");
    check_order(&plan);
    assert_eq!(edges(&plan.dropped), ["ResourceQuota/n/q < Deployment/n/d"]);
    assert_eq!(writes(&plan), ["Namespace/n", "Deployment/n/d", "ResourceQuota/n/q"]);
}

#[test]
fn a_platform_comes_in_the_order_that_pods_need() {
    let text = "
        pdb n/api app=api
        hpa n/api target=api
        deploy n/api image=a config=settings secret=db sa=app
        binding n/b role=r subject=app
        role n/r
        sa n/app
        cm n/settings data.x=1
        external n/db
        quota n/q
        ns n";
    let mut world = World::new();
    let plan = world.plan(text);
    check_order(&plan);
    let found: Vec<String> = edges(&plan.edges).into_iter().filter(|edge| !edge.starts_with("Namespace")).collect();
    assert_eq!(
        found,
        [
            "ConfigMap/n/settings < Deployment/n/api",
            "Deployment/n/api < HorizontalPodAutoscaler/n/api",
            "Deployment/n/api < PodDisruptionBudget/n/api",
            "ExternalSecret/n/db < Deployment/n/api",
            "ResourceQuota/n/q < Deployment/n/api",
            "Role/n/r < RoleBinding/n/b",
            "RoleBinding/n/b < Deployment/n/api",
            "ServiceAccount/n/app < Deployment/n/api",
            "ServiceAccount/n/app < RoleBinding/n/b",
        ]
    );
}

#[test]
fn a_dependency_outside_of_the_set_must_be_in_the_cluster() {
    let mut world = World::with("ns n");
    assert_eq!(codes(&world.plan("ns n\ncm n/a after=cm:n/there")), ["Fatal unknown-dependency ConfigMap/n/a"]);
    world.foreign("cm n/there", "kubectl");
    assert_eq!(codes(&world.plan("ns n\ncm n/a after=cm:n/there")), [""; 0]);
    let mut world = World::with("ns n\ncm n/left data.x=1");
    world.lose("cm:n/left");
    assert_eq!(codes(&world.plan("ns n\ncm n/a after=cm:n/left")), ["Fatal unknown-dependency ConfigMap/n/a"]);
}
