use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use service_testing::eventually;

use crate::world::{Client, Platform, REPOSITORY, complete};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_a_kill_is_published_after_it() {
    let platform = Platform::start();
    platform.bus.broker_down(1).unwrap();
    let service = platform.service(&[]);
    for _ in 0..20 {
        service.create().await;
    }
    let unpublished = || platform.postgres.query("SELECT count(*) FROM execution_events WHERE published_at IS NULL").unwrap();
    assert_eq!(unpublished(), "20");
    // Killed without warning, between the database and the bus.
    drop(service);
    platform.bus.broker_up(1).unwrap();
    let _service = platform.service(&[]);
    eventually("the outbox is empty", || (unpublished() == "0").then_some(())).unwrap();
    platform.check_bus_holds_every_event().await;
}

/// Creates features one after the other until the service is gone; returns what was promised to the client.
async fn create_until_killed(client: Client, number_of_client: usize) -> Vec<(String, Value)> {
    let mut promised = Vec::new();
    for number in 0.. {
        let key = format!("{number_of_client}-{number}");
        let request = json!({"repository_url": REPOSITORY, "instruction": "x", "idempotency_key": key});
        match client.call("Create", &request).await {
            Ok((200, answer)) => promised.push((key, answer["id"].clone())),
            Ok((503, _)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    promised
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_nothing_and_double_nothing() {
    let platform = Platform::start();
    let second = platform.service(&[("LOG_LEVEL", "info")]);
    let mut promised = Vec::new();
    for round in 0..4 {
        let service = platform.service(&[("LOG_LEVEL", "info")]);
        let clients: Vec<_> = (0..8).map(|number| tokio::spawn(create_until_killed(service.client.clone(), round * 8 + number))).collect();
        let created = || platform.postgres.query("SELECT count(*) FROM feature_executions").unwrap().parse::<usize>().unwrap();
        let before = created();
        eventually("features arrive", || (created() > before + 100).then_some(())).unwrap();
        drop(service);
        for client in clients {
            promised.extend(client.await.unwrap());
        }
    }
    // A client that got no answer asks again with its key.
    let request = |key: &str| json!({"repository_url": REPOSITORY, "instruction": "x", "idempotency_key": key});
    for (key, id) in promised.iter().step_by(10) {
        assert_eq!(second.call("Create", &request(key)).await.1["id"], *id, "{key}");
    }
    let kept = platform.postgres.query("SELECT id FROM feature_executions").unwrap();
    let kept: HashSet<&str> = kept.lines().collect();
    assert!(promised.iter().all(|(_, id)| kept.contains(id.as_str().unwrap())), "what was promised is there");
    assert_eq!(
        platform.postgres.query("SELECT count(*) FROM feature_executions GROUP BY idempotency_key HAVING count(*) > 1").unwrap(),
        ""
    );
    platform.check_bus_holds_every_event().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_lost_its_log_is_filled_again() {
    let mut platform = Platform::start();
    let store = platform.store().await;
    let service = platform.service(&[]);
    let (running, ended) = (service.create().await, service.create().await);
    complete(&store, ended).await;
    platform.check_bus_holds_every_event().await;
    drop(service);
    // Another cluster, which knows nothing of the first one's log.
    platform.forget_the_bus();
    let _service = platform.service(&[]);
    platform.postgres.query(&format!("DELETE FROM execution_events WHERE feature_execution_id = '{ended}'")).unwrap();
    tokio::time::timeout(Duration::from_secs(60), platform.check_bus_holds_every_event()).await.unwrap();
    assert_eq!(store.events(running, 0).await.unwrap().len(), 1);
}
