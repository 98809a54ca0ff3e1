//! What is done to one object.

use provision_model::{Action, Precondition};
use serde_json::json;

use crate::text::{desired, id};
use crate::world::{World, codes, lines};

/// Applies `before`, plans `after`, and compares the writes.
fn check_plan(before: &str, after: &str, expected: &[&str]) {
    assert_eq!(lines(&World::with(before).plan(after)), expected);
}

#[test]
fn what_is_not_there_is_created_after_its_namespace() {
    check_plan("ns n", "cm n/a data.x=1\nns n", &["create ConfigMap/n/a (not there)"]);
    let mut world = World::new();
    let plan = world.plan("cm n/a data.x=1\nns n");
    assert_eq!(lines(&plan), ["create Namespace/n (not there)", "create ConfigMap/n/a (not there)"]);
    let sent = plan.changes[1].manifest.as_ref().unwrap();
    assert_eq!(sent.annotation("provision.dev/release"), Some("dev"));
    assert_eq!(sent.annotation("provision.dev/digest"), Some(desired("cm n/a data.x=1").objects[0].manifest.digest().as_str()));
}

#[test]
fn a_changed_rendering_shows_what_changes_in_the_cluster() {
    let before = "ns n\ndeploy n/api image=a replicas=1\ncm n/c data.x=1 data.y=2";
    check_plan(before, before, &[]);
    check_plan(
        before,
        "ns n\ndeploy n/api image=b replicas=2\ncm n/c data.x=1",
        &[
            "update ConfigMap/n/c: data.y 2 -> nothing (rendered differently)",
            "update Deployment/n/api: spec.template.spec.containers[name=main].image \"a\" -> \"b\", spec.replicas 1 -> 2 (rendered differently)",
        ],
    );
}

#[test]
fn the_form_of_a_value_is_no_change() {
    let mut world = World::with("ns n\ndeploy n/api cpu=1000m");
    assert_eq!(world.questions("ns n\ndeploy n/api cpu=1000m"), 0);
    assert_eq!(lines(&world.plan("ns n\ndeploy n/api cpu=1000m")), [""; 0]);
    assert_eq!(world.questions("ns n\ndeploy n/api cpu=1"), 1);
    let plan = world.up("ns n\ndeploy n/api cpu=1");
    assert!(plan.is_empty());
    assert_eq!(plan.changes[1].reason, "rendered differently, same values");
    assert_eq!(world.questions("ns n\ndeploy n/api cpu=1"), 0, "the record follows, so that it is asked once");
}

#[test]
fn a_write_is_bound_to_what_was_seen() {
    let mut world = World::with("ns n\ncm n/old data.x=1\ncm n/left data.x=1\njob n/j image=a");
    let plan = world.plan("ns n\ncm n/old data.x=2\ncm n/new data.x=1\nsa n/default\njob n/j image=b");
    let expects = |object: &str| {
        let change = plan.changes.iter().find(|change| change.id == id(object)).unwrap();
        (change.action, change.precondition(), change.precondition_of_remaking())
    };
    let uid = |object: &str| Precondition::Uid(world.live(object)["metadata"]["uid"].as_str().unwrap());
    assert_eq!(expects("cm:n/new"), (Action::Create, Precondition::Absent, Precondition::Absent));
    assert_eq!(expects("cm:n/old"), (Action::Update, uid("cm:n/old"), Precondition::Absent));
    assert_eq!(expects("cm:n/left"), (Action::Delete, uid("cm:n/left"), Precondition::Absent));
    assert_eq!(expects("job:n/j"), (Action::Replace, uid("job:n/j"), Precondition::Absent));
    let own = expects("sa:n/default");
    assert_eq!(own, (Action::Create, Precondition::None, Precondition::None), "the cluster makes it as soon as there is the namespace");
}

#[test]
fn the_order_of_containers_is_a_value() {
    let text = |image: &str| format!("ns n\ndeploy n/api image={image} inits=first,second");
    let mut world = World::with(&text("a"));
    let plan = world.up("ns n\ndeploy n/api image=a inits=second,first");
    assert_eq!(
        lines(&plan),
        ["update Deployment/n/api: spec.template.spec.initContainers \
          [{\"name\":\"first\"},{\"name\":\"second\"}] -> [{\"name\":\"second\"},{\"name\":\"first\"}] (rendered differently)"]
    );
    assert_eq!(world.live("deploy:n/api")["spec"]["template"]["spec"]["initContainers"][0]["name"], "second");
    assert!(world.plan("ns n\ndeploy n/api image=a inits=second,first").is_empty());
    let swapped = json!([{"name": "first"}, {"name": "second"}]);
    world.set("deploy:n/api", "/spec/template/spec", "initContainers", swapped);
    let plan = world.plan("ns n\ndeploy n/api image=a inits=second,first");
    assert_eq!(plan.changes[1].reason, "drifted");
}

#[test]
fn only_changed_and_unknown_live_objects_are_asked_about() {
    let mut world = World::with("ns n\ncm n/a data.x=1\ncm n/b data.x=1");
    world.foreign("cm n/theirs data.x=1", "kubectl");
    assert_eq!(world.questions("ns n\ncm n/a data.x=1\ncm n/b data.x=2\ncm n/new data.x=1\ncm n/theirs data.x=1"), 2);
    let error = provision_plan::plan(&desired("ns n\ncm n/b data.x=2"), &world.observed).unwrap_err();
    assert_eq!(error.to_string(), "the API server was not asked about ConfigMap/n/b");
}

#[test]
fn drift_is_set_right_and_named() {
    let text = "ns n\ndeploy n/api image=a replicas=1";
    let mut world = World::with(text);
    world.edit("deploy:n/api", ("kubectl-edit", ""), "/spec/replicas", json!(5));
    world.edit("deploy:n/api", ("kubectl-edit", ""), "/spec/paused", json!(true));
    assert_eq!(world.questions(text), 0);
    let plan = world.up(text);
    assert_eq!(
        lines(&plan),
        ["update Deployment/n/api: spec.replicas 5 -> 1 (drifted: changed by kubectl-edit (Update, 2026-02-03T04:05:06Z))"]
    );
    assert_eq!(plan.changes[1].others[0].manager, "kubectl-edit");
    assert!(world.plan(text).is_empty());
    assert_eq!(world.live("deploy:n/api")["spec"]["paused"], true, "what others own stays");
}

#[test]
fn what_was_deleted_is_made_again_and_what_someone_made_again_is_taken_over() {
    let text = "ns n\ncm n/a data.x=1";
    let mut world = World::with(text);
    world.lose("cm:n/a");
    assert_eq!(lines(&world.plan(text)), ["create ConfigMap/n/a (was deleted)"]);
    world.foreign("cm n/a data.x=2", "kubectl-create");
    let plan = world.up(text);
    assert_eq!(lines(&plan), ["update ConfigMap/n/a: data.x 2 -> 1 (made again by someone else)"]);
    assert!(world.plan(text).is_empty());
}

#[test]
fn a_foreign_object_is_adopted_with_its_other_writers_named() {
    let mut world = World::with("ns n");
    world.foreign("cm n/a data.x=1 data.y=2", "kubectl-client-side-apply");
    let plan = world.up("ns n\ncm n/a data.x=1");
    assert_eq!(lines(&plan), ["update ConfigMap/n/a (adopted from kubectl)"]);
    assert_eq!(codes(&plan), ["Warning adopted ConfigMap/n/a"]);
    let others: Vec<String> = plan.changes[1].others.iter().map(|owner| format!("{} {}", owner.path, owner.manager)).collect();
    assert_eq!(others, ["data.x kubectl-client-side-apply"]);
    assert!(world.plan("ns n\ncm n/a data.x=1").is_empty());
}

#[test]
fn another_releases_object_is_left_alone() {
    let mut world = World::with("ns n");
    world.foreign("cm n/a data.x=1", "provision");
    world.set("cm:n/a", "/metadata", "annotations", json!({"provision.dev/release": "staging"}));
    let plan = world.plan("ns n\ncm n/a data.x=1");
    assert_eq!(codes(&plan), ["Fatal owned-by-another-release ConfigMap/n/a"]);
    assert!(plan.is_empty());
}

#[test]
fn an_unrecorded_write_of_ours_is_repeated_to_record_it() {
    let text = "ns n\ncm n/a data.x=1";
    let mut world = World::with(text);
    world.observed.recorded.get_mut(&id("cm:n/a")).unwrap().uid = None;
    assert_eq!(world.questions(text), 1);
    assert_eq!(lines(&world.up(text)), ["update ConfigMap/n/a (ours but not recorded)"]);
    assert!(world.plan(text).is_empty());
}

#[test]
fn a_terminating_object_is_waited_for_and_made_again() {
    let text = "ns n\ncm n/a data.x=1";
    let mut world = World::with(text);
    world.set("cm:n/a", "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    assert_eq!(lines(&world.plan(text)), ["replace ConfigMap/n/a (is being deleted)"]);
    world.set("ns:n", "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    assert_eq!(
        lines(&world.plan(text)),
        ["replace Namespace/n (is being deleted)", "create ConfigMap/n/a (its namespace is being deleted)"]
    );
}

#[test]
fn a_job_runs_once_for_each_rendering() {
    let text = "ns n\njob n/migrate image=a";
    let mut world = World::with(text);
    assert_eq!(world.plan(text).changes[1].reason, "same Job");
    world.set("job:n/migrate", "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    assert!(world.plan(text).is_empty(), "it completed; that it is being removed does not matter");
    world.lose("job:n/migrate");
    let plan = world.plan(text);
    assert!(plan.is_empty());
    assert_eq!(plan.changes[1].reason, "completed earlier");
    assert_eq!(lines(&world.plan("ns n\njob n/migrate image=b")), ["create Job/n/migrate (was deleted)"]);
    world.observed.recorded.get_mut(&id("job:n/migrate")).unwrap().completed = false;
    assert_eq!(lines(&world.plan(text)), ["create Job/n/migrate (was deleted)"]);
}

#[test]
fn a_changed_job_is_replaced_and_a_failed_one_made_again() {
    let mut world = World::with("ns n\njob n/migrate image=a");
    assert_eq!(
        lines(&world.plan("ns n\njob n/migrate image=b")),
        ["replace Job/n/migrate: spec.template.spec.containers[name=main].image \"a\" -> \"b\" \
          (rendered differently; cannot change in place: spec.template: field is immutable)"]
    );
    world.set("job:n/migrate", "", "status", json!({"conditions": [{"type": "Failed", "status": "True"}]}));
    assert_eq!(lines(&world.plan("ns n\njob n/migrate image=a")), ["replace Job/n/migrate (failed earlier)"]);
}

#[test]
fn c12_an_immutable_field_replaces_only_where_that_is_allowed() {
    let mut world = World::with("ns n\ndeploy n/api app=a");
    let refused = world.plan("ns n\ndeploy n/api app=b");
    assert_eq!(codes(&refused), ["Fatal immutable-field Deployment/n/api"]);
    assert!(refused.findings[0].help.is_some());
    let uid = world.live("deploy:n/api")["metadata"]["uid"].clone();
    let plan = world.up("ns n\ndeploy n/api app=b replace=allowed");
    assert_eq!(codes(&plan), [""; 0]);
    assert_eq!(
        lines(&plan),
        ["replace Deployment/n/api: spec.selector.matchLabels.app \"a\" -> \"b\" \
          (rendered differently; cannot change in place: spec.selector: field is immutable)"]
    );
    assert_ne!(world.live("deploy:n/api")["metadata"]["uid"], uid);
}

#[test]
fn c12_a_refusal_never_leads_to_a_deletion() {
    let mut world = World::with("ns n\nsvc n/api spec.port=80");
    let plan = world.plan("ns n\nsvc n/api spec.port=70000 replace=allowed");
    assert_eq!(codes(&plan), ["Fatal refused-by-server Service/n/api"]);
    assert_eq!(lines(&plan), ["update Service/n/api: spec.port 80 -> 70000 (rendered differently)"]);
    assert!(plan.findings[0].message.contains("must be at most 65535"));
}

#[test]
fn c13_replicas_of_an_autoscaler_are_left_alone() {
    let scaled = "ns n\ndeploy n/api image=a replicas=2\nhpa n/api target=api";
    let mut world = World::with(scaled);
    assert_eq!(world.live("deploy:n/api")["spec"]["replicas"], 2, "a new object gets the template's value");
    world.edit("deploy:n/api", ("kube-controller-manager", "scale"), "/spec/replicas", json!(7));
    assert!(world.plan(scaled).is_empty());
    assert_eq!(provision_plan::drift(&world.observed), []);
    let plan = world.up("ns n\ndeploy n/api image=b replicas=2\nhpa n/api target=api");
    let sent = plan.changes.iter().find(|change| change.id == id("deploy:n/api")).unwrap().manifest.as_ref().unwrap();
    assert_eq!(sent.value().pointer("/spec/replicas"), None, "not ours, so it is not sent");
    assert_eq!(world.live("deploy:n/api")["spec"]["replicas"], 7);
    assert!(world.plan("ns n\ndeploy n/api image=b replicas=2\nhpa n/api target=api").is_empty());
}

#[test]
fn c13_replicas_that_are_still_ours_keep_their_live_value() {
    let mut world = World::with("ns n\ndeploy n/api image=a replicas=4");
    let plan = world.up("ns n\ndeploy n/api image=a\nhpa n/api target=api");
    let sent = plan.changes.iter().find(|change| change.id == id("deploy:n/api")).unwrap().manifest.as_ref().unwrap();
    assert_eq!(sent.value().pointer("/spec/replicas"), Some(&json!(4)), "dropping it would set 1");
    assert_eq!(world.live("deploy:n/api")["spec"]["replicas"], 4);
    let without = world.plan("ns n\ndeploy n/api image=a replicas=3");
    assert_eq!(
        lines(&without),
        ["update Deployment/n/api: spec.replicas 4 -> 3 (rendered differently)", "delete HorizontalPodAutoscaler/n/api (no longer wanted)"]
    );
}

#[test]
fn c13_a_person_who_scales_is_drift() {
    let text = "ns n\ndeploy n/api replicas=2";
    let mut world = World::with(text);
    world.edit("deploy:n/api", ("kubectl", "scale"), "/spec/replicas", json!(5));
    assert_eq!(
        lines(&world.plan(text)),
        ["update Deployment/n/api: spec.replicas 5 -> 2 (drifted: changed by kubectl (Update of scale, 2026-02-03T04:05:06Z))"]
    );
}

#[test]
fn a_secret_is_compared_by_fingerprints_and_shown_by_them() {
    let text = "ns n\nsecret n/db data.url=@feature/db#url";
    let mut world = World::new();
    world.observed.secrets.insert("feature/db#url".into(), "fp:11111111".into());
    world.up(text);
    assert_eq!(world.questions(text), 0);
    assert!(world.plan(text).is_empty());
    world.observed.secrets.insert("feature/db#url".into(), "fp:22222222".into());
    assert_eq!(lines(&world.plan(text)), ["update Secret/n/db: data.url \"fp:11111111\" -> \"fp:22222222\" (a secret has a new value)"]);
    world.up(text);
    world.edit("secret:n/db", ("kubectl-edit", ""), "/data/url", json!("aHVudGVyMg=="));
    let shown = provision_plan::plain(&provision_plan::view(&world.plan(text)));
    assert!(!shown.contains("aHVudGVyMg"), "{shown}");
    assert!(shown.contains("data.url: \"(hidden)\" -> \"fp:22222222\""), "{shown}");
    let drift = provision_plan::plain(&provision_plan::view_drift(&provision_plan::drift(&world.observed)));
    assert!(!drift.contains("aHVudGVyMg"), "{drift}");
}

#[test]
fn c11_a_stale_plan_has_another_decision() {
    let (old, new) = ("ns n\ncm n/a data.x=1\ncm n/b data.x=1", "ns n\ncm n/a data.x=2\ncm n/b data.x=1");
    let decision = |change: fn(&mut World)| {
        let mut world = World::with(old);
        change(&mut world);
        world.plan(new).decision_digest()
    };
    let made = decision(|_| {});
    assert_eq!(made, decision(|world| world.edit("cm:n/a", ("other", ""), "/data/theirs", json!(1))), "(i) a field that is not ours");
    assert_eq!(made, decision(|world| world.edit("cm:n/b", ("other", ""), "/data/x", json!(1))), "(ii) the same difference");
    assert_ne!(made, decision(|world| world.edit("cm:n/a", ("other", ""), "/data/x", json!(9))), "(iii) another difference");
    assert_ne!(made, decision(|world| world.edit("cm:n/b", ("other", ""), "/data/x", json!(9))), "(iii) one more difference");
    assert_ne!(
        made,
        decision(|world| {
            world.lose("cm:n/a");
            world.foreign("cm n/a data.x=1", "kubectl");
        }),
        "(iv) deleted and made again"
    );
    assert_ne!(made, decision(|world| world.observed.cluster.uid = "other".into()), "(vi) another cluster");
}

#[test]
fn versions_that_are_not_served_are_refused_with_those_that_are() {
    let mut world = World::new();
    let plan = world.plan("ns n\nhpa n/h api=autoscaling/v2beta2\ncr n/w");
    assert_eq!(codes(&plan), ["Fatal kind-not-served HorizontalPodAutoscaler/n/h", "Fatal kind-not-served Widget/n/w"]);
    assert_eq!(plan.findings[0].help.as_deref(), Some("served versions of HorizontalPodAutoscaler.autoscaling: v2"));
    let plan = world.plan("ns n\ncr n/w api=example.com/v2\ncrd widgets");
    assert_eq!(plan.findings[0].help.as_deref(), Some("served versions of Widget.example.com: v1"));
    assert_eq!(codes(&world.plan("cm a")), ["Fatal namespace-missing ConfigMap/a"]);
    assert_eq!(codes(&world.plan("ns n\nns n/x")), ["Fatal namespace-refused Namespace/n/x"]);
}
