//! Up from nothing, again, and with changes.

use std::collections::BTreeSet;

use provision_apply::{Cluster as _, GenerationState, RunOutcome, history, observe, status};
use provision_model::{Desired, DesiredObject, Health, ResourceId};

use crate::world::{Work, World, config, deployment, deployment_id, desired, job, job_id, namespace, service};

fn platform() -> Desired {
    desired(vec![
        namespace(),
        config("settings", "1"),
        job("migrate", "1", &[]),
        deployment("api", 2, &[job_id("migrate")]),
        service("api"),
    ])
}

#[tokio::test(start_paused = true)]
async fn up_from_nothing_makes_everything_and_again_writes_nothing() {
    let world = World::new();
    let wanted = platform();
    let outcome = world.run(&Work::Up(wanted.clone())).await.unwrap();
    assert!(matches!(&outcome, RunOutcome::Done { summary } if summary.generation == Some(1)), "{outcome:?}");
    assert_eq!(
        world.writes(),
        [
            "Apply Namespace/feature-system",
            "Apply Job/feature-system/migrate",
            "Apply Service/feature-system/api",
            "Apply ConfigMap/feature-system/settings",
            "Apply Deployment/feature-system/api"
        ]
    );
    let cx = world.cx();
    for object in status(&cx, &wanted.scope()).await.unwrap() {
        assert_eq!(object.verdict.health, Health::Current, "{object:?}");
    }

    world.cluster.clear_request_log();
    let again = world.run(&Work::Up(wanted.clone())).await.unwrap();
    assert!(matches!(&again, RunOutcome::Done { summary } if summary.generation.is_none() && summary.unchanged == 5), "{again:?}");
    assert_eq!((world.cluster.requests().writes, world.cluster.requests().dry_runs), (0, 0));
    let generations = history(&cx, &wanted.scope()).await.unwrap();
    assert_eq!(generations.iter().map(|generation| generation.state).collect::<Vec<_>>(), [GenerationState::Done]);
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_what_is_there() {
    let world = World::new();
    let wanted = platform();
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    let observed = observe(&world.cx(), &wanted.scope(), &wanted.objects).await.unwrap();
    let ids: BTreeSet<ResourceId> = wanted.objects.iter().map(DesiredObject::id).collect();
    assert_eq!(observed.recorded.keys().cloned().collect::<BTreeSet<_>>(), ids);
    for (id, recorded) in &observed.recorded {
        assert_eq!(recorded.uid.as_deref(), observed.live[id].uid(), "{id}");
        assert_eq!(recorded.completed, id.kind.kind == "Job", "{id}");
    }
    assert!(observed.recorded[&deployment_id("api")].applied.to_string().contains("registry.local/api:1"));
}
