use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use feature_store::{Creation, Instruction, Keys, Move, New, Trace};
use service_testing::Postgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use uuid::Uuid;

use super::bus::memory::MemoryBus;
use super::*;

struct World {
    postgres: Postgres,
    store: Store,
    bus: MemoryBus,
}

impl World {
    async fn start() -> Self {
        let postgres = Postgres::start().unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            postgres.query(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
        let pool: PgPool = PgPoolOptions::new().max_connections(20).connect(&postgres.url()).await.unwrap();
        let token = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        Self { postgres, store: Store::new(pool, Keys::from_tokens(token, token).unwrap()), bus: MemoryBus::default() }
    }

    /// Starts a publisher; it is woken by nobody.
    fn publisher(&self) -> tokio::task::JoinHandle<()> {
        let (sender, wake) = watch::channel(());
        let mut publisher = Publisher { store: self.store.clone(), bus: self.bus.clone(), wake };
        tokio::spawn(async move {
            publisher.work().await;
            drop(sender);
        })
    }

    async fn features(&self, count: usize) -> Vec<Uuid> {
        let new = New {
            repository_url: "https://example.com/repo".to_owned(),
            instruction: Instruction::new("x"),
            idempotency_key: None,
            trace: Trace::default(),
        };
        let created = self.store.create_all(vec![new; count]).await.unwrap();
        let id = |creation| if let Creation::Created(id) = creation { id } else { panic!("{creation:?}") };
        created.into_iter().map(id).collect()
    }

    async fn complete(&self, feature: Uuid) {
        let mut state = self.store.state(feature).await.unwrap();
        while let Some(forward) = Move::forward(state) {
            self.store.transition(feature, &forward).await.unwrap();
            state = forward.to();
        }
    }

    /// Waits until the log holds of each of these features what is expected, in the order of the first times.
    async fn check_log(&self, expected: &BTreeMap<Uuid, Vec<i32>>) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let firsts: BTreeMap<Uuid, Vec<i32>> = self.bus.sequences().into_iter().map(|(id, all)| (id, firsts(&all))).collect();
            if firsts == *expected {
                return;
            }
            assert!(Instant::now() < deadline, "{firsts:?}\nis not\n{expected:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn firsts(all: &[i32]) -> Vec<i32> {
    let mut firsts = Vec::new();
    all.iter().for_each(|sequence| {
        if !firsts.contains(sequence) {
            firsts.push(*sequence)
        }
    });
    firsts
}

fn whole(features: &[Uuid], last: i32) -> BTreeMap<Uuid, Vec<i32>> {
    features.iter().map(|id| (*id, (0..=last).collect())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_that_lose_their_right_again_and_again_lose_no_event_and_keep_the_order() {
    let world = World::start().await;
    let publishers = [world.publisher(), world.publisher()];
    let features = world.features(40).await;
    world.bus.refuse_each(23);
    for some in features.chunks(8) {
        let moves = some.iter().map(|id| world.complete(*id));
        for moved in moves {
            moved.await;
        }
        world.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
    }
    world.check_log(&whole(&features, 5)).await;
    publishers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_publisher_at_rest_publishes_each_event_once() {
    let world = World::start().await;
    let publishers = [world.publisher(), world.publisher()];
    let features = world.features(50).await;
    world.complete(features[0]).await;
    let mut expected = whole(&features, 0);
    expected.insert(features[0], (0..=5).collect());
    world.check_log(&expected).await;
    assert_eq!(world.bus.sequences(), expected);
    publishers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_lost_its_log_gets_the_events_of_features_that_have_not_ended() {
    let world = World::start().await;
    let (ended, running) = (world.features(3).await, world.features(6).await);
    for id in &ended {
        world.complete(*id).await;
    }
    let publisher = world.publisher();
    let mut all = whole(&ended, 5);
    all.extend(whole(&running, 0));
    world.check_log(&all).await;

    // Found by asking how far the log reaches: nothing new is published.
    world.bus.lose_log();
    world.check_log(&whole(&running, 0)).await;

    // Found by the first acknowledgement, or by asking; the new feature's events may come twice.
    world.bus.lose_log();
    let new = world.features(6).await;
    let mut all = whole(&running, 0);
    all.extend(whole(&new, 0));
    world.check_log(&all).await;

    // Lost while nobody publishes.
    publisher.abort();
    drop(publisher.await);
    world.bus.lose_log();
    let publisher = world.publisher();
    world.check_log(&all).await;
    publisher.abort();
}
