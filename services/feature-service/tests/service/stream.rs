use std::time::Duration;

use feature_api::feature::State;
use feature_store::Move;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{Platform, Running, complete};

/// A stream of events as a client reads it.
struct Stream {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

/// What came next.
#[derive(Debug, PartialEq)]
enum Next {
    Event(String, Value),
    Alive,
    End,
}

impl Stream {
    async fn open(service: &Running, request: &Value, headers: &[(&str, &str)]) -> Self {
        let response = service.client.send("Watch", request.to_string(), headers).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    async fn next(&mut self) -> Next {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
                let next = match (field("id:"), field("data:")) {
                    (Some(id), Some(data)) => Next::Event(id, serde_json::from_str(&data).unwrap()),
                    _ => Next::Alive,
                };
                self.text = rest.to_owned();
                return next;
            }
            match timeout(Duration::from_secs(30), self.bytes.next()).await.unwrap() {
                Some(Ok(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Some(Err(_)) | None => return Next::End,
            }
        }
    }

    /// Returns the next event's id and state; signs of life are passed over.
    async fn event(&mut self) -> Option<(String, String)> {
        loop {
            match self.next().await {
                Next::Event(id, event) => return Some((id, event["state"].as_str().unwrap().to_owned())),
                Next::Alive => {}
                Next::End => return None,
            }
        }
    }

    async fn rest(&mut self) -> Vec<(String, String)> {
        let mut rest = Vec::new();
        while let Some(event) = self.event().await {
            rest.push(event);
        }
        rest
    }
}

fn events(from: i32, states: &[&str]) -> Vec<(String, String)> {
    (from..).zip(states).map(|(id, state)| (id.to_string(), (*state).to_owned())).collect()
}

const ALL: [&str; 6] = ["PENDING", "ANALYZING", "PLANNING", "EXECUTING", "VERIFYING", "COMPLETED"];

#[tokio::test(flavor = "multi_thread")]
async fn one_feature_is_watched_to_its_end() {
    let platform = Platform::start();
    let (service, store) = (platform.service(&[]), platform.store().await);
    let (id, other) = (service.create().await, service.create().await);
    let request = json!({"id": id});
    let mut stream = Stream::open(&service, &request, &[]).await;
    assert_eq!(stream.event().await.unwrap(), ("0".to_owned(), "PENDING".to_owned()));
    assert_eq!(stream.next().await, Next::Alive, "a sign of life while nothing happens");
    complete(&store, other).await;
    complete(&store, id).await;
    assert_eq!(stream.rest().await, events(1, &ALL[1..]), "only its own, and then the end");
    for (request, headers, expected) in [
        (request.clone(), None, events(0, &ALL)),
        (json!({"id": id, "after": 2}), None, events(3, &ALL[3..])),
        (request.clone(), Some("4"), events(5, &ALL[5..])),
        (request, Some("5"), vec![]),
        (json!({"id": id, "after": 70}), None, vec![]),
    ] {
        let headers: Vec<_> = headers.map(|last| ("last-event-id", last)).into_iter().collect();
        assert_eq!(Stream::open(&service, &request, &headers).await.rest().await, expected, "{request} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_watched_and_a_stream_goes_on_where_it_broke_off() {
    let platform = Platform::start();
    let (service, store) = (platform.service(&[]), platform.store().await);
    let before = service.create().await;
    let mut stream = Stream::open(&service, &json!({}), &[]).await;
    let after = service.create().await;
    complete(&store, before).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(stream.event().await.unwrap());
    }
    let states: Vec<&str> = seen.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ALL, "the creation of the second, then the first's way to its end");
    drop(stream);
    complete(&store, after).await;
    let mut resumed = Stream::open(&service, &json!({}), &[("last-event-id", &seen[2].0)]).await;
    let mut again = Vec::new();
    for _ in 0..8 {
        again.push(resumed.event().await.unwrap());
    }
    assert_eq!(again[..3], seen[3..]);
    assert_eq!(again[3..].iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ALL[1..]);
    service.process.terminate().unwrap();
    assert_eq!(resumed.rest().await, [], "a service that stops ends its streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_database() {
    let mut platform = Platform::start();
    let service = platform.service(&[]);
    let id = service.create().await;
    let mut stream = Stream::open(&service, &json!({}), &[]).await;
    platform.postgres.stop().unwrap();
    platform.postgres.resume().unwrap();
    let store = platform.store().await;
    store.transition(id, &Move::forward(State::Pending).unwrap()).await.unwrap();
    assert_eq!(stream.event().await.unwrap().1, "ANALYZING", "listened to again, or looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_transaction_that_ended_later_than_a_younger_one_is_told() {
    let platform = Platform::start();
    let (service, store) = (platform.service(&[]), platform.store().await);
    let (slow, quick) = (service.create().await, service.create().await);
    let mut stream = Stream::open(&service, &json!({}), &[]).await;
    let mut transaction = store.pool().begin().await.unwrap();
    let statements = [
        format!("UPDATE feature_executions SET state = 2 WHERE id = '{slow}'"),
        format!(
            "INSERT INTO execution_events (id, feature_execution_id, sequence, event_type, state, previous_state)
             VALUES (gen_random_uuid(), '{slow}', 1, 'feature.state_changed', 2, 1)"
        ),
    ];
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
    }
    store.cancel(quick).await.unwrap();
    let (first, state) = stream.event().await.unwrap();
    assert_eq!(state, "CANCELLED");
    transaction.commit().await.unwrap();
    let (second, state) = stream.event().await.unwrap();
    assert_eq!(state, "ANALYZING");
    assert!(second.parse::<i64>().unwrap() < first.parse::<i64>().unwrap());
}
