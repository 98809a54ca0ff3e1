use std::collections::BTreeMap;

use feature_store::{Acknowledged, Outbox, StoredEvent};
use service_testing::eventually;
use uuid::Uuid;

use crate::world::{World, new};

fn taken(events: &[StoredEvent], first: i64) -> Vec<Acknowledged> {
    events
        .iter()
        .zip(first..)
        .map(|(event, offset)| Acknowledged { event: event.id, partition: i32::from(offset % 2 == 1), offset })
        .collect()
}

fn sequences(events: &[StoredEvent]) -> BTreeMap<Uuid, Vec<i32>> {
    let mut sequences: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    events.iter().for_each(|event| sequences.entry(event.feature).or_default().push(event.event.sequence));
    sequences
}

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_the_outbox_in_each_features_order() {
    let world = World::start().await;
    let ids: Vec<Uuid> = [world.feature().await, world.feature().await].to_vec();
    let movers: Vec<_> = ids
        .iter()
        .map(|id| async {
            for _ in 0..5 {
                world.forward(*id).await;
            }
        })
        .collect();
    for mover in movers {
        mover.await;
    }
    let mut outbox = Outbox::try_lead(world.store.pool()).await.unwrap().unwrap();
    let mut all = Vec::new();
    loop {
        let some = outbox.unpublished(5).await.unwrap();
        if some.is_empty() {
            break;
        }
        outbox.mark_published(&taken(&some, i64::try_from(all.len()).unwrap())).await.unwrap();
        all.extend(some);
    }
    assert_eq!(sequences(&all), ids.iter().map(|id| (*id, vec![0, 1, 2, 3, 4, 5])).collect());
    assert_eq!(outbox.highest_offsets().await.unwrap(), BTreeMap::from([(0, 10), (1, 11)]));
    outbox.mark_published(&taken(&all[..1], 4)).await.unwrap();
    assert_eq!(outbox.highest_offsets().await.unwrap()[&0], 10, "it never goes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_publishes_at_a_time() {
    let world = World::start().await;
    let pool = world.store.pool().clone();
    let mut leader = Outbox::try_lead(&pool).await.unwrap().unwrap();
    assert!(Outbox::try_lead(&pool).await.unwrap().is_none());
    world.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
    let mut next = Outbox::try_lead(&pool).await.unwrap().unwrap();
    assert!(leader.unpublished(1).await.is_err() && leader.mark_published(&[]).await.is_err(), "who has lost the right can't use it");
    assert!(next.unpublished(1).await.is_ok());
    next.release().await.unwrap();
    let again = Outbox::try_lead(&pool).await.unwrap().unwrap();
    drop(again);
    let locks = || world.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
    eventually("the right is given back", || (locks() == "0").then_some(())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_brings_back_the_events_of_features_that_have_not_ended() {
    let world = World::start().await;
    let (running, ended, fresh) = (world.feature().await, world.feature().await, world.feature().await);
    world.forward(running).await;
    world.store.cancel(ended).await.unwrap();
    let mut outbox = Outbox::try_lead(world.store.pool()).await.unwrap().unwrap();
    let all = outbox.unpublished(100).await.unwrap();
    outbox.mark_published(&taken(&all, 0)).await.unwrap();
    assert_eq!(outbox.unpublished(100).await.unwrap(), []);
    assert_eq!(outbox.republish_unfinished().await.unwrap(), 3);
    let again = outbox.unpublished(100).await.unwrap();
    assert_eq!(sequences(&again), BTreeMap::from([(running, vec![0, 1]), (fresh, vec![0])]));
    assert_eq!(outbox.highest_offsets().await.unwrap(), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_is_told_once_a_transaction() {
    let world = World::start().await;
    let mut listener = sqlx::postgres::PgListener::connect_with(world.store.pool()).await.unwrap();
    listener.listen(feature_store::CHANNEL).await.unwrap();
    world.store.create_all((0..20).map(|_| new(None)).collect()).await.unwrap();
    let last = world.store.last_position().await.unwrap();
    let id = world.feature().await;
    for _ in 0..2 {
        assert_eq!(listener.recv().await.unwrap().payload(), "");
    }
    let news = world.store.events_after(last, &[1, 3], 10).await.unwrap();
    assert_eq!(news.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 3, news[2].position]);
    assert_eq!(news[2].feature, id);
}
