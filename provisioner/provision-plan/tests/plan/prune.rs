//! Objects that are no longer wanted.

use provision_model::Action;
use serde_json::json;

use crate::text::id;
use crate::world::{World, codes, lines};

const BEFORE: &str = "ns n\ncm n/a data.x=1\ncm n/b data.x=1";

#[test]
fn what_is_no_longer_rendered_goes_last() {
    let mut world = World::with("ns n\ncm n/a data.x=1\ndeploy n/d config=a\nhpa n/h target=d");
    let plan = world.up("ns n\ncm n/new data.x=1");
    assert_eq!(
        lines(&plan),
        [
            "create ConfigMap/n/new (not there)",
            "delete HorizontalPodAutoscaler/n/h (no longer wanted)",
            "delete Deployment/n/d (no longer wanted)",
            "delete ConfigMap/n/a (no longer wanted)",
        ]
    );
    assert!(world.plan("ns n\ncm n/new data.x=1").is_empty());
}

#[test]
fn the_same_object_under_another_version_stays() {
    let mut world = World::with("ns n\nhpa n/h api=autoscaling/v2 target=d");
    world.observed.api.resources.push(provision_model::ApiResource {
        version: "v1".into(),
        preferred: false,
        ..world.observed.api.find(&id("hpa:n/h").kind, None).unwrap().clone()
    });
    let plan = world.plan("ns n\nhpa n/h api=autoscaling/v1 target=d");
    assert_eq!(plan.count(Action::Delete), 0);
}

#[test]
fn keep_ends_our_ownership() {
    let mut world = World::with("ns n\ncm n/a data.x=1 keep=yes");
    assert_eq!(lines(&world.plan("ns n")), ["release ConfigMap/n/a (kept, as its annotation says)"]);
}

/// A change made to a world where `ns n, cm n/a, cm n/b` are applied, and what happens to `cm n/b` when it leaves.
fn check_leaving(change: fn(&mut World), expected: (Action, &str)) {
    let mut world = World::with(BEFORE);
    change(&mut world);
    let plan = world.plan("ns n\ncm n/a data.x=1");
    let leaving = plan.changes.iter().find(|change| change.id == id("cm:n/b")).unwrap();
    assert_eq!((leaving.action, leaving.reason.as_str()), expected);
}

#[test]
fn only_what_is_surely_ours_is_deleted() {
    check_leaving(|_| {}, (Action::Delete, "no longer wanted"));
    check_leaving(|world| world.lose("cm:n/b"), (Action::Unchanged, "already gone"));
    check_leaving(
        |world| {
            world.lose("cm:n/b");
            world.foreign("cm n/b data.x=2", "kubectl");
        },
        (Action::Unchanged, "made again by someone else"),
    );
    check_leaving(
        |world| world.set("cm:n/b", "/metadata/annotations", "provision.dev/release", json!("staging")),
        (Action::Unchanged, "belongs to release staging now"),
    );
    check_leaving(
        |world| {
            world.observed.recorded.get_mut(&id("cm:n/b")).unwrap().uid = None;
            world.lose("cm:n/b");
            world.foreign("cm n/b data.x=2", "kubectl");
        },
        (Action::Unchanged, "was never written"),
    );
}

#[test]
fn a_secret_that_an_operator_makes_now_is_left_to_it() {
    let mut world = World::with("ns n\nsecret n/db data.url=plain\ndeploy n/d secret=db");
    let plan = world.plan("ns n\nexternal n/db\ndeploy n/d secret=db");
    assert_eq!(codes(&plan), [""; 0]);
    assert_eq!(lines(&plan), ["create ExternalSecret/n/db (not there)"]);
}

#[test]
fn a_namespace_goes_only_when_nothing_foreign_is_known_to_be_in_it() {
    let mut world = World::with("ns n\nns m\nsts n/db claim=data");
    let kept = |world: &mut World| codes(&world.plan("ns m"));
    assert_eq!(kept(&mut world), ["Warning namespace-kept Namespace/n"]);
    assert_eq!(provision_plan::leaving_namespaces(Some(&crate::text::desired("ns m")), &world.observed), ["n"]);

    world.options.contents = [("n".to_owned(), vec![id("sts:n/db"), id("sa:n/default"), id("cm:n/kube-root-ca.crt")])].into();
    assert_eq!(kept(&mut world), [""; 0]);
    assert_eq!(lines(&world.plan("ns m")), ["delete StatefulSet/n/db (no longer wanted)", "delete Namespace/n (no longer wanted)"]);

    world.options.contents.get_mut("n").unwrap().push(id("pvc:n/data-db-0"));
    assert_eq!(kept(&mut world), ["Warning data-deleted PersistentVolumeClaim/n/data-db-0"]);

    world.options.contents.get_mut("n").unwrap().push(id("pvc:n/data-other-0"));
    assert_eq!(kept(&mut world), ["Warning namespace-kept Namespace/n"]);
    let plan = world.plan("ns m");
    assert_eq!(plan.findings[0].message, "Namespace/n is kept: it holds PersistentVolumeClaim/n/data-other-0, which is not ours");
}

/// What is applied, what happens then, what is in `n`, and why it stays when everything leaves.
fn check_kept(before: &str, change: fn(&mut World), contents: &[&str], expected: &str) {
    let mut world = World::with(before);
    change(&mut world);
    let contents = [("n".to_owned(), contents.iter().map(|content| id(content)).collect())].into();
    let down = provision_plan::plan_down(&crate::text::desired("").scope(), &world.observed, &contents);
    let namespace = down.changes.iter().find(|change| change.id == id("ns:n")).unwrap();
    assert_eq!((namespace.action, namespace.reason.as_str()), (Action::Release, expected));
    assert_eq!(down.count(Action::Delete), 0, "what would go with the namespace stays");
}

#[test]
fn a_namespace_stays_with_what_stays_in_it() {
    check_kept("ns n\ncm n/a keep=yes", |_| {}, &["cm:n/a"], "kept: it holds ConfigMap/n/a, which is kept");
    check_kept(
        "ns n\ncm n/a data.x=1",
        |world| world.set("cm:n/a", "/metadata/annotations", "provision.dev/release", json!("staging")),
        &["cm:n/a"],
        "kept: it holds ConfigMap/n/a, which is not ours",
    );
    check_kept(
        "ns n\nsts n/db claim=data keep=yes",
        |_| {},
        &["sts:n/db", "pvc:n/data-db-0"],
        "kept: it holds 2 objects that stay: StatefulSet/n/db ... PersistentVolumeClaim/n/data-db-0",
    );
    let made_anew = |world: &mut World| {
        world.lose("cm:n/a");
        world.foreign("cm n/a data.x=2", "kubectl");
    };
    check_kept("ns n\ncm n/a data.x=1", made_anew, &["cm:n/a"], "kept: it holds ConfigMap/n/a, which is not ours");
    check_kept("ns n\ncm n/a data.x=1", |world| world.lose("cm:n/a"), &["cm:n/a"], "kept: it holds ConfigMap/n/a, which is not ours");
}

#[test]
fn many_deletions_and_an_empty_set_need_a_word() {
    let mut world = World::with(BEFORE);
    let mut few = crate::text::desired("ns n");
    few.policy.max_deletes = 1;
    assert_eq!(codes(&world.try_plan(&few).unwrap()), ["Fatal too-many-deletes"]);
    world.options.allow_deletes = Some(2);
    assert_eq!(codes(&world.try_plan(&few).unwrap()), [""; 0]);

    assert!(codes(&world.plan("")).contains(&"Fatal empty-set".to_owned()));
    world.options.allow_empty = true;
    assert!(!codes(&world.plan("")).contains(&"Fatal empty-set".to_owned()));
}

#[test]
fn a_definition_takes_all_its_objects_with_it() {
    let mut world = World::with("ns n\ncrd widgets\ncr n/w spec.x=1");
    let plan = world.plan("ns n");
    assert_eq!(codes(&plan), ["Warning definition-deleted CustomResourceDefinition/widgets"]);
    assert_eq!(lines(&plan), ["delete Widget/n/w (no longer wanted)", "delete CustomResourceDefinition/widgets (no longer wanted)"]);
    assert_eq!(codes(&world.plan("ns n\ncr n/w spec.x=1"))[1..], ["Fatal still-needed CustomResourceDefinition/widgets"]);
}
