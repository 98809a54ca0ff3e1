//! Up from nothing, again, and with changes.

use std::collections::BTreeSet;

use provision_apply::{
    ApplyError, ApplyOptions, Cluster as _, GenerationState, RecordError, RunOutcome, apply, history, load_generation, load_pending,
    observe, status,
};
use provision_model::{Desired, DesiredObject, Health, Plan, ResourceId};

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
    for object in status(&cx, &wanted.scope()).await.unwrap().objects {
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

#[tokio::test(start_paused = true)]
async fn the_release_of_another_environment_or_region_is_refused_whatever_is_asked() {
    let of = |environment: &str, region: Option<&str>| Desired {
        environment: environment.parse().unwrap(),
        region: region.map(|region| region.parse().unwrap()),
        release: "prod-us-east".parse().unwrap(),
        ..platform()
    };
    let theirs = of("prod-us", Some("east"));
    for ours in [of("prod", Some("us-east")), of("prod-us", Some("us-east")), of("prod", Some("east")), of("prod-us-east", None)] {
        let world = World::new();
        let early = world.plan(&world.cx(), &ours).await.unwrap().0;
        world.run(&Work::Up(theirs.clone())).await.unwrap();
        world.cluster.clear_request_log();
        let (cx, scope) = (world.cx(), ours.scope());
        let late = Plan { base_generation: Some(1), ..early };
        let asked = [
            observe(&cx, &scope, &ours.objects).await.err(),
            history(&cx, &scope).await.err(),
            load_pending(&cx, &scope).await.err(),
            load_generation(&cx, &scope, None).await.err(),
            status(&cx, &scope).await.err(),
            apply(&cx, &late, ApplyOptions::default()).await.err(),
        ];
        for refused in asked {
            assert!(matches!(refused, Some(ApplyError::Record(RecordError::OtherEnvironment { .. }))), "{refused:?}");
        }
        assert_eq!(world.writes(), [""; 0]);
        assert_eq!(history(&cx, &theirs.scope()).await.unwrap().len(), 1);
    }
    let world = World::new();
    world.run(&Work::Up(theirs)).await.unwrap();
    let refused = history(&world.cx(), &of("prod-us-east", None).scope()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "release `prod-us-east` of this cluster is that of environment `prod-us` in region `east`; environment `prod-us-east` without a \
         region can't have one of the same name beside it"
    );
}
