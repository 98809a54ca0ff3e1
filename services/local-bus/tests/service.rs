//! The program as it runs: producers and groups find it, and find it again when it comes back empty.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service_bus::{BusSettings, ConsumerOptions, Placed, Publisher, Record, Verdict, consume};
use service_testing::Service;
use tokio::time::{Instant, sleep};

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-bus");
const TOPIC: &str = "feature.events";

fn start(port: u16) -> Service {
    let port = port.to_string();
    let service = Service::start(PROGRAM, &[], &[("BUS_PORT", &port), ("EVENT_BUS_PARTITION_COUNT", "8")]).unwrap();
    service.wait_for_readiness(200).unwrap();
    service
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn publish(publisher: &Publisher, round: &str) -> Option<Vec<Placed>> {
    let record = |number: usize| Record {
        topic: TOPIC.to_owned(),
        key: format!("key-{number}"),
        payload: format!("{round} {number}").into_bytes(),
        headers: vec![],
    };
    let records: Vec<Record> = (0..20).map(record).collect();
    publisher.publish(&records).await.into_iter().collect::<Result<_, _>>().ok()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within 60 s");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_was_killed_comes_back_empty_and_is_found_again_by_all() {
    // A second start in one process is refused, which is right.
    drop(tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).with_test_writer().try_init());
    let port = free_port();
    let settings = BusSettings { limit: Duration::from_secs(3), ..BusSettings::new(vec![format!("127.0.0.1:{port}")], "test") };
    let service = start(port);
    assert!(service.log().contains("nothing outlives it"), "{}", service.log());
    let (publisher, seen): (_, Arc<Mutex<BTreeSet<String>>>) = (Publisher::new(settings.clone()), Arc::default());
    let log = Arc::clone(&seen);
    let work = move |received: service_bus::Received| {
        log.lock().unwrap().insert(String::from_utf8(received.payload).unwrap());
        async { Verdict::Done }
    };
    let options = ConsumerOptions::new(TOPIC, "workers", 4);
    let consumer = tokio::spawn(async move { consume(&settings, options, std::future::pending(), work).await });
    let first = publish(&publisher, "first").await.unwrap();
    until("the first round is seen", async || seen.lock().unwrap().len() == 20).await;
    let high = publisher.high_watermarks(TOPIC).await.unwrap();
    assert_eq!((high.len(), high.values().sum::<i64>()), (8, 20));
    assert_eq!(publisher.high_watermarks("feature.events.dead").await.unwrap().len(), 1);

    drop(service);
    assert!(publish(&publisher, "lost").await.is_none(), "nobody takes it");
    let mut again = start(port);
    until("a second round is published", async || publish(&publisher, "second").await.is_some()).await;
    let high = publisher.high_watermarks(TOPIC).await.unwrap();
    let regressed = first.iter().all(|placed| high[&placed.partition] <= placed.offset + 20);
    assert!(regressed && high.values().sum::<i64>() % 20 == 0, "a new log: {high:?}");
    until("the second round is seen", async || seen.lock().unwrap().iter().filter(|text| text.starts_with("second")).count() == 20).await;
    consumer.abort();
    again.end_in_order().unwrap();
}

#[test]
fn a_taken_port_ends_it_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut service = Service::start(PROGRAM, &[], &[("BUS_PORT", &port)]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("failed to listen on"), "{}", service.log());
}
