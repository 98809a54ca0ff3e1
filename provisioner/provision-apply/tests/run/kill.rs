//! A run is killed before and after every single request; a resume from nothing but the cluster gives the same end.

use std::collections::{BTreeMap, BTreeSet};

use provision_apply::{Fault, GenerationState, RunOutcome, history, observe};
use provision_model::{Desired, Manifest, ResourceId, annotations};
use serde_json::Value;

use crate::world::{STATE, Work, World, config, config_id, deployment, deployment_id, desired, is_state, job, job_id, namespace, service};

/// 40 objects.
fn before() -> Desired {
    let mut objects = vec![namespace(), job("migrate", "1", &[]), deployment("api", 2, &[job_id("migrate")]), service("api")];
    objects.extend((0..31).map(|number| config(&format!("c{number}"), "1")));
    objects.extend((0..5).map(|number| config(&format!("old{number}"), "1")));
    desired(objects)
}

/// 40 objects: 5 of the old ones go, 5 are new, 6 change, and two Jobs run: one anew, one for the first time.
fn after() -> Desired {
    let jobs = [job_id("migrate"), job_id("report")];
    let mut objects = vec![namespace(), job("migrate", "2", &[config_id("c0")]), job("report", "1", &[]), deployment("api", 3, &jobs)];
    objects.push(service("api"));
    objects.extend((0..31).map(|number| config(&format!("c{number}"), if number < 5 { "2" } else { "1" })));
    objects.extend((0..4).map(|number| config(&format!("new{number}"), "1")));
    desired(objects)
}

/// What a run leaves, as far as it must be the same every time.
#[derive(Debug, PartialEq)]
struct End {
    content: BTreeMap<ResourceId, Value>,
    job_runs: [u64; 2],
    states: Vec<GenerationState>,
}

async fn end(world: &World) -> End {
    let generations = history(&world.cx(), &after().scope()).await.unwrap();
    End {
        content: world.content(),
        job_runs: [world.cluster.job_runs("migrate"), world.cluster.job_runs("report")],
        states: generations.into_iter().map(|generation| generation.state).collect(),
    }
}

/// The inventory holds exactly what carries our fields.
async fn check_inventory(world: &World, case: &str) {
    let observed = observe(&world.cx(), &after().scope(), &[]).await.unwrap();
    let recorded: BTreeSet<ResourceId> = observed.recorded.into_keys().collect();
    let ours: BTreeSet<ResourceId> = world.cluster.ours().into_iter().filter(|id| !is_state(id)).collect();
    assert_eq!(recorded, ours, "{case}: inventory");
}

/// Tells whether the record holds all pieces that it refers to, and no other.
fn is_record_tidy(world: &World) -> bool {
    let head = world.cluster.peek(&ResourceId::namespaced("", "ConfigMap", STATE, "dev.head")).unwrap();
    let head: Value = serde_json::from_str(head.text("/data/head.json").unwrap()).unwrap();
    let mut used = BTreeSet::new();
    for generation in head["generations"].as_array().unwrap() {
        for blob in generation["shards"].as_array().unwrap().iter().flat_map(|shard| shard["blobs"].as_array().unwrap()) {
            used.insert(format!("dev.blob-{}", &blob.as_str().unwrap()[..40]));
        }
    }
    let stored = world.cluster.ids().into_iter().filter(|id| is_state(id) && id.name.starts_with("dev.blob-"));
    stored.map(|id| id.name).collect::<BTreeSet<_>>() == used
}

/// Wanted objects that are there as they are wanted.
fn written(world: &World, wanted: &Desired) -> BTreeSet<ResourceId> {
    let is_written = |manifest: &Manifest| {
        let live = world.cluster.peek(&manifest.id());
        live.is_some_and(|live| live.annotation(annotations::DIGEST) == Some(manifest.digest().as_str()) && !live.is_terminating())
    };
    wanted.objects.iter().filter(|object| is_written(&object.manifest)).map(provision_model::DesiredObject::id).collect()
}

async fn prepared(generations: &[Work]) -> World {
    let world = World::new();
    for work in generations {
        let outcome = world.run(work).await.unwrap();
        assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    }
    world.cluster.clear_fault();
    world.cluster.clear_request_log();
    world
}

async fn sweep(generations: &[Work], work: Work, wanted: &Desired) {
    let start = prepared(generations).await;
    let world = start.fork();
    let outcome = world.run(&work).await.unwrap();
    assert!(matches!(outcome, RunOutcome::Done { .. }), "{outcome:?}");
    let requests = world.cluster.request_count();
    let expected = end(&world).await;
    check_inventory(&world, "uninterrupted").await;
    assert!(is_record_tidy(&world));
    let mut killed = 0;
    for request in 1..=requests {
        for fault in [Fault::HangBefore(request), Fault::HangAfter(request)] {
            let case = format!("{fault:?} of {requests}");
            let world = start.fork();
            if world.run_with_fault(&work, fault).await.is_none() {
                killed += 1;
            }
            let done = written(&world, wanted);
            world.cluster.clear_request_log();
            let resumed = world.resume(&wanted.scope()).await.unwrap();
            let tidied = resumed.is_some();
            let outcome = match resumed {
                Some(outcome) => outcome,
                None => world.run(&work).await.unwrap(),
            };
            assert!(matches!(outcome, RunOutcome::Done { .. }), "{case}: {outcome:?}");
            let again = world.writes().into_iter().filter(|write| done.iter().any(|id| *write == format!("Apply {id}")));
            assert_eq!(again.collect::<Vec<_>>(), [""; 0], "{case}: written again");
            assert_eq!(end(&world).await, expected, "{case}");
            check_inventory(&world, &case).await;
            assert!(!tidied || is_record_tidy(&world), "{case}: record");
        }
    }
    assert!(killed + 8 > requests * 2, "only {killed} of {} runs were killed", requests * 2);
}

#[tokio::test(start_paused = true)]
async fn up_survives_a_kill_at_every_request() {
    sweep(&[Work::Up(before())], Work::Up(after()), &after()).await;
}

#[tokio::test(start_paused = true)]
async fn rollback_survives_a_kill_at_every_request() {
    sweep(&[Work::Up(before()), Work::Up(after())], Work::Rollback(after().scope(), 1), &before()).await;
}

#[tokio::test(start_paused = true)]
async fn down_survives_a_kill_at_every_request() {
    let nothing = desired(Vec::new());
    sweep(&[Work::Up(before())], Work::Down(after().scope()), &nothing).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_at_any_request_changes_nothing() {
    let start = prepared(&[Work::Up(before())]).await;
    let work = Work::Up(after());
    let world = start.fork();
    world.run(&work).await.unwrap();
    let requests = world.cluster.request_count();
    let expected = end(&world).await;
    for request in 1..=requests {
        let world = start.fork();
        // A reading before the run may fail; the run itself tries again.
        let done = match world.run_with_fault(&work, Fault::FailAfter(request)).await.unwrap() {
            Ok(outcome) => outcome,
            Err(_) => world.run(&work).await.unwrap(),
        };
        assert!(matches!(done, RunOutcome::Done { .. }), "request {request}: {done:?}");
        assert_eq!(end(&world).await, expected, "request {request} of {requests}");
        check_inventory(&world, &format!("request {request}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rollback_brings_back_what_was_pruned_and_changed() {
    let world = prepared(&[Work::Up(before())]).await;
    let first = world.content();
    world.run(&Work::Up(after())).await.unwrap();
    assert_ne!(world.content(), first);
    let outcome = world.run(&Work::Rollback(after().scope(), 1)).await.unwrap();
    assert!(matches!(&outcome, RunOutcome::Done { summary } if summary.generation == Some(3)), "{outcome:?}");
    assert_eq!(world.content(), first);
}

#[tokio::test(start_paused = true)]
async fn the_deployment_waits_for_both_jobs() {
    let world = prepared(&[Work::Up(before())]).await;
    world.run(&Work::Up(after())).await.unwrap();
    let writes = world.writes();
    let place = |write: &str| writes.iter().position(|line| line == write);
    let api = place(&format!("Apply {}", deployment_id("api")));
    assert!(place(&format!("Apply {}", job_id("migrate"))) < api && place(&format!("Apply {}", job_id("report"))) < api, "{writes:?}");
}
