use std::collections::HashSet;

use feature_api::feature::State;
use feature_store::{Creation, Instruction, Keys, List, New, Store, StoreError};
use uuid::Uuid;

use crate::world::{INSTRUCTION, World, new};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_the_same_time_takes_one_feature() {
    let world = World::start().await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move { store.create(new(Some("key"))).await.unwrap() })
        })
        .collect();
    let (mut created, mut all) = (Vec::new(), HashSet::new());
    for task in tasks {
        match task.await.unwrap() {
            Creation::Created(id) => {
                created.push(id);
                all.insert(id);
            }
            Creation::Repeated(id, state) => {
                assert_eq!(state, State::Pending);
                all.insert(id);
            }
            Creation::OtherContent => panic!("the content is the same"),
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(all, HashSet::from([created[0]]));
    assert_eq!(world.query("SELECT count(*), (SELECT count(*) FROM execution_events) FROM feature_executions").unwrap(), "1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_answered_in_order_and_batches_with_the_same_keys_do_not_block_each_other() {
    let world = World::start().await;
    let batch = |reverse: bool| -> Vec<New> {
        let mut keys: Vec<u32> = (0..40).collect();
        if reverse {
            keys.reverse();
        }
        keys.into_iter().map(|key| new(Some(&key.to_string()))).collect()
    };
    let tasks: Vec<_> = (0..16)
        .map(|index| {
            let (store, news) = (world.store.clone(), batch(index % 2 == 0));
            tokio::spawn(async move {
                let keys: Vec<String> = news.iter().filter_map(|new| new.idempotency_key.clone()).collect();
                keys.into_iter().zip(store.create_all(news).await.unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    for task in tasks {
        for (key, creation) in task.await.unwrap() {
            let id = match creation {
                Creation::Created(id) | Creation::Repeated(id, _) => id,
                Creation::OtherContent => panic!("{key}: the content is the same"),
            };
            let kept = world.query(&format!("SELECT idempotency_key FROM feature_executions WHERE id = '{id}'")).unwrap();
            assert_eq!(kept, key, "each answer belongs to its request");
        }
    }
    assert_eq!(world.query("SELECT count(*) FROM feature_executions").unwrap(), "40");
    let twice = world.store.create_all(vec![new(Some("x")), new(Some("x")), new(None), new(None)]).await.unwrap();
    let (first, second) = (twice[0], twice[1]);
    assert!(
        matches!((first, second), (Creation::Created(a), Creation::Repeated(b, _)) | (Creation::Repeated(b, _), Creation::Created(a)) if a == b)
    );
    assert!(matches!(twice[2..], [Creation::Created(a), Creation::Created(b)] if a != b), "without a key each is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_content() {
    let world = World::start().await;
    world.store.create(new(Some("key"))).await.unwrap();
    for (url, instruction, same) in [
        ("https://example.com/repo.git", INSTRUCTION, true),
        ("https://example.com/repo.git", "canary-7fd1:  make the\nmine safe ", true),
        ("https://example.com/other.git", INSTRUCTION, false),
        ("https://example.com/repo.git", "something else", false),
    ] {
        let again = New { repository_url: url.to_owned(), instruction: Instruction::new(instruction), ..new(Some("key")) };
        match world.store.create(again).await {
            Ok(Creation::Repeated(..)) if same => {}
            Err(StoreError::AlreadyExists) if !same => {}
            other => panic!("{url} {instruction:?}: {other:?}"),
        }
    }
    let id = world.feature().await;
    assert_eq!(
        world.store.instruction(id).await.unwrap(),
        Instruction::new(INSTRUCTION),
        "repeats without a key are features of their own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_and_keys_are_nowhere_in_the_database() {
    let world = World::start().await;
    let id = world.feature().await;
    let rows = world.query("SELECT f::text, encode(instruction_ciphertext, 'escape') FROM feature_executions f").unwrap();
    let events = world.query("SELECT e::text FROM execution_events e").unwrap();
    assert!(!rows.is_empty() && !rows.contains("canary") && !events.contains("canary") && !rows.contains(&hex("canary")), "{rows}{events}");
    let other = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
    let stranger = Store::new(world.store.pool().clone(), Keys::from_tokens(other, other).unwrap());
    let error = stranger.instruction(id).await.unwrap_err().to_string();
    assert!(error.contains("is encrypted with key") && !error.contains("canary"), "{error}");
    assert!(matches!(world.store.instruction(Uuid::nil()).await, Err(StoreError::NotFound(_))));
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_feature_once_newest_first() {
    let world = World::start().await;
    // One transaction: all of the same moment.
    world.store.create_all((0..7).map(|_| new(None)).collect()).await.unwrap();
    for _ in 0..4 {
        world.feature().await;
    }
    let cancelled = world.feature().await;
    world.store.cancel(cancelled).await.unwrap();
    let mut list = List { limit: 5, ..List::default() };
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = world.store.list(&list).await.unwrap();
        sizes.push(page.features.len());
        seen.extend(page.features.into_iter().map(|feature| (feature.created_at, feature.id)));
        // Newer ones do not shift the pages.
        world.feature().await;
        let Some(next) = page.next else { break };
        list.after = Some(next);
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert_eq!(seen.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), 12);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let ended = world.store.list(&List { states: vec![State::Cancelled, State::Failed], limit: 5, after: None }).await.unwrap();
    assert!(
        ended.next.is_none() && ended.features.len() == 1 && ended.features[0].id == cancelled && ended.features[0].completed_at.is_some()
    );
}
