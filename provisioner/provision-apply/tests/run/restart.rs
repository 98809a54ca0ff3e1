//! New pods without a new release.

use provision_apply::{ApplyOptions, PodScript, RunOutcome, restart, workloads};
use provision_model::{Health, ResourceId};

use crate::world::{NS, Work, World, config, deployment, deployment_id, desired, namespace};

fn pods(world: &World, app: &str) -> Vec<ResourceId> {
    let of_app = |id: &ResourceId| id.kind.kind == "Pod" && id.namespace.as_deref() == Some(NS) && id.name.starts_with(app);
    world.cluster.ids().into_iter().filter(of_app).collect()
}

#[tokio::test(start_paused = true)]
async fn the_pods_are_new_the_release_is_the_same_and_nothing_drifts() {
    let world = World::new();
    let wanted = desired(vec![namespace(), config("settings", "1"), deployment("api", 2, &[]), deployment("web", 1, &[])]);
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    let (api, web) = (pods(&world, "api"), pods(&world, "web"));
    let cx = world.cx();
    assert_eq!(workloads(&cx, &wanted.scope()).await.unwrap(), [deployment_id("api"), deployment_id("web")]);

    let outcome = restart(&cx, &wanted.scope(), &[deployment_id("api")], &ApplyOptions::default()).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    let renewed = pods(&world, "api");
    assert!(renewed.len() == 2 && renewed.iter().all(|pod| !api.contains(pod)), "{renewed:?}");
    assert_eq!(pods(&world, "web"), web, "what was not named keeps its pods");

    let (plan, _) = world.plan(&world.cx(), &wanted).await.unwrap();
    assert!(plan.is_empty(), "{plan:?}");
    // A later release of the same template does not take the pods back.
    world
        .run(&Work::Up(desired(vec![namespace(), config("settings", "2"), deployment("api", 2, &[]), deployment("web", 1, &[])])))
        .await
        .unwrap();
    assert_eq!(pods(&world, "api"), renewed);
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_come_back_are_the_failure_with_its_cause() {
    let world = World::new();
    let wanted = desired(vec![namespace(), deployment("api", 1, &[])]);
    world.run(&Work::Up(wanted.clone())).await.unwrap();
    world.cluster.script_pods("api", PodScript::CrashLoop { exit_code: 3, log: vec!["no database".to_owned()] });
    let outcome = restart(&world.cx(), &wanted.scope(), &[deployment_id("api")], &ApplyOptions::default()).await.unwrap();
    let RunOutcome::Failed { failures, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failures[0].verdict.health, Health::Failed);
    assert_eq!(failures[0].verdict.evidence.logs, ["no database"]);
}
