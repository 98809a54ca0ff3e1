//! What differs, who changed it, and when.

use provision_plan::{Drift, DriftKind, drift};
use serde_json::json;

use crate::text::id;
use crate::world::World;

fn shown(drift: &[Drift]) -> Vec<String> {
    let line = |drift: &Drift| {
        let fields = drift.fields.iter().map(|field| {
            let owners = field.owners.iter().map(|owner| {
                format!("{} {} {:?} {}", owner.manager, owner.operation, owner.subresource, owner.time.as_deref().unwrap_or("-"))
            });
            format!(" {} [{}]", field.change.path, owners.collect::<Vec<_>>().join("; "))
        });
        let kind = match &drift.kind {
            DriftKind::Replaced { .. } => "Replaced".to_owned(),
            kind => format!("{kind:?}"),
        };
        format!("{kind} {}{}", drift.id, fields.collect::<String>())
    };
    drift.iter().map(line).collect()
}

#[test]
fn nothing_differs_right_after_an_apply() {
    assert_eq!(drift(&World::with("ns n\ndeploy n/a image=a cpu=1000m\njob n/j image=a").observed), []);
}

#[test]
fn a_changed_field_names_its_writer_and_a_removed_one_nobody() {
    let mut world = World::with("ns n\ncm n/a data.x=1 data.y=2\ndeploy n/d replicas=1");
    world.edit("cm:n/a", ("kubectl-edit", ""), "/data/x", json!(9));
    world.edit("cm:n/a", ("kubectl-edit", ""), "/data/theirs", json!(9));
    world.edit("deploy:n/d", ("kubectl", "scale"), "/spec/replicas", json!(3));
    assert_eq!(
        shown(&drift(&world.observed)),
        [
            "Changed ConfigMap/n/a data.x [kubectl-edit Update Some(\"\") 2026-02-03T04:05:06Z]".replace("Some(\"\")", "None"),
            "Changed Deployment/n/d spec.replicas [kubectl Update Some(\"scale\") 2026-02-03T04:05:06Z]".to_owned(),
        ]
    );
    world.set("cm:n/a", "", "data", json!({"x": 1}));
    assert_eq!(shown(&drift(&world.observed))[0], "Changed ConfigMap/n/a data.y []");
}

#[test]
fn gone_going_and_made_again_are_told_apart() {
    let mut world = World::with(
        "ns n\ncm n/gone data.x=1\ncm n/going data.x=1\ncm n/again data.x=1\njob n/done image=a\njob n/expiring image=a\ncm n/registered",
    );
    world.lose("cm:n/gone");
    world.set("cm:n/going", "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    world.set("job:n/expiring", "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    world.lose("cm:n/again");
    world.foreign("cm n/again data.x=2", "kubectl");
    world.lose("job:n/done");
    world.lose("cm:n/registered");
    world.observed.recorded.get_mut(&id("cm:n/registered")).unwrap().uid = None;
    let found = shown(&drift(&world.observed));
    assert_eq!(found[1..], ["Terminating ConfigMap/n/going", "Missing ConfigMap/n/gone"]);
    assert!(found[0].starts_with("Replaced ConfigMap/n/again"), "{found:?}");
}
