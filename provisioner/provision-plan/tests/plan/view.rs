//! How plans and drift look.

use provision_model::{Finding, Origin};
use provision_plan::{Style, plain, view, view_drift};
use serde_json::json;

use crate::world::World;

#[test]
fn a_plan_reads_from_top_to_bottom() {
    let mut world = World::with("ns n\ncm n/a data.x=1\ndeploy n/api image=a config=a\ncm n/old data.x=1\njob n/j image=a");
    world.edit("cm:n/a", ("kubectl-edit", ""), "/data/x", json!(2));
    let plan =
        world.plan("ns n\ncm n/a data.x=1\ndeploy n/api image=b config=a secret=s\nexternal n/s\njob n/j image=b\nsvc n/x spec.port=1");
    insta::assert_snapshot!(plain(&view(&plan)));
}

#[test]
fn what_stops_an_apply_stands_out() {
    let mut world = World::with("ns n\ndeploy n/api app=a");
    let segments = view(&world.plan("ns n\ndeploy n/api app=b"));
    assert!(segments.iter().any(|segment| segment.style == Style::Fatal && segment.text.contains("immutable-field")));
    insta::assert_snapshot!(plain(&segments));
}

#[test]
fn a_finding_with_many_places_lists_the_first_and_counts_the_rest() {
    let mut plan = World::new().plan("cm n/a");
    let mut finding = Finding::warning("dangling-reference", "Namespace/n is not there");
    finding.origins = (1..=12).map(|line| Origin::new("a.yaml", line, 1)).collect();
    plan.findings = vec![finding];
    let text = plain(&view(&plan));
    assert!(text.contains("at a.yaml:10:1\n      and 2 more\n") && !text.contains("a.yaml:11:1"), "{text}");
}

#[test]
fn drift_names_who_and_when() {
    let mut world = World::with("ns n\ncm n/a data.x=1\ncm n/gone data.x=1");
    world.edit("cm:n/a", ("kubectl-edit", ""), "/data/x", json!(2));
    world.lose("cm:n/gone");
    insta::assert_snapshot!(plain(&view_drift(&provision_plan::drift(&world.observed))));
}
