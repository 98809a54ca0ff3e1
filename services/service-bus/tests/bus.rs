//! The bus against librdkafka's in-process cluster: real sockets, the real protocol.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use service_bus::{
    BusError, BusSettings, ConsumerOptions, Ensured, Placed, Publisher, Received, Record, Topic, Verdict, consume, ensure_topic,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "feature.events";
const PARTITIONS: i32 = 8;

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, BusSettings) {
    // A second start in one process is refused, which is right.
    drop(tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).with_test_writer().try_init());
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    let settings = BusSettings { limit: Duration::from_secs(5), ..BusSettings::new(vec![cluster.bootstrap_servers()], "test") };
    (cluster, settings)
}

fn record(key: &str, number: usize) -> Record {
    let record = Record { topic: TOPIC.to_owned(), key: key.to_owned(), payload: number.to_string().into_bytes(), headers: vec![] };
    record.traced(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None)
}

/// `each` records of `keys` keys, the first of all keys before the second of any.
fn records(keys: usize, each: usize) -> Vec<Record> {
    (0..each).flat_map(|number| (0..keys).map(move |key| record(&format!("key-{key}"), number))).collect()
}

async fn publish(publisher: &Publisher, records: &[Record]) -> Vec<Placed> {
    publisher.publish(records).await.into_iter().map(Result::unwrap).collect()
}

/// Polls a condition until it holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 60 s");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What several members saw, and how they behaved.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    numbers: HashMap<String, Vec<usize>>,
    by_member: BTreeMap<usize, usize>,
    at_work: BTreeSet<String>,
    clashes: Vec<String>,
}

impl Seen {
    fn with<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn distinct(&self) -> usize {
        self.with(|log| log.numbers.values().map(|numbers| numbers.iter().collect::<BTreeSet<_>>().len()).sum())
    }

    async fn take(self, member: usize, received: Received, work: Duration) -> Verdict {
        let key = String::from_utf8(received.key).unwrap();
        let number = String::from_utf8(received.payload).unwrap().parse().unwrap();
        self.with(|log| {
            if !log.at_work.insert(key.clone()) {
                log.clashes.push(key.clone());
            }
        });
        sleep(work).await;
        self.with(|log| {
            log.at_work.remove(&key);
            log.numbers.entry(key).or_default().push(number);
            *log.by_member.entry(member).or_default() += 1;
        });
        Verdict::Done
    }
}

struct Member {
    stop: CancellationToken,
    task: JoinHandle<Result<(), BusError>>,
}

impl Member {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn join(settings: &BusSettings, seen: &Seen, member: usize, work: Duration) -> Member {
    let (stop, seen, settings) = (CancellationToken::new(), seen.clone(), settings.clone());
    let stopped = stop.clone().cancelled_owned();
    let options = ConsumerOptions { buffered: 50, ..ConsumerOptions::new(TOPIC, "workers", 8) };
    let task =
        tokio::spawn(async move { consume(&settings, options, stopped, move |received| seen.clone().take(member, received, work)).await });
    Member { stop, task }
}

/// The first sight of each number of each key was in order.
fn assert_order(seen: &Seen, keys: usize, each: usize) {
    seen.with(|log| {
        assert_eq!(log.numbers.len(), keys);
        for (key, numbers) in &log.numbers {
            let mut first = Vec::new();
            for number in numbers {
                if !first.contains(number) {
                    first.push(*number);
                }
            }
            assert_eq!(first, Vec::from_iter(0..each), "{key}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_tells_where_each_record_went() {
    let (_cluster, settings) = cluster();
    let publisher = Publisher::new(settings);
    let records = records(20, 5);
    let placed = publish(&publisher, &records).await;
    let mut of_key: HashMap<&str, Vec<Placed>> = HashMap::new();
    for (record, placed) in records.iter().zip(&placed) {
        of_key.entry(&record.key).or_default().push(*placed);
    }
    for (key, placed) in of_key {
        assert!(placed.iter().all(|here| here.partition == placed[0].partition), "{key} is on several partitions: {placed:?}");
        assert!(placed.is_sorted_by_key(|here| here.offset), "{key} is out of order: {placed:?}");
    }
    let high = publisher.high_watermarks(TOPIC).await.unwrap();
    assert_eq!(high.len(), 8);
    for (partition, end) in high {
        let newest = placed.iter().filter(|placed| placed.partition == partition).map(|placed| placed.offset + 1).max();
        assert_eq!(end, newest.unwrap_or(0), "partition {partition}");
    }
    assert!(publisher.high_watermarks("no.such").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_broker_takes_is_told_in_time_and_can_be_published_again_in_order() {
    let (cluster, settings) = cluster();
    let publisher = Publisher::new(BusSettings { limit: Duration::from_secs(2), ..settings });
    publish(&publisher, &[record("a", 0)]).await;
    cluster.broker_down(1).unwrap();
    let again = [record("a", 1), record("a", 2)];
    let started = Instant::now();
    for result in publisher.publish(&again).await {
        assert!(matches!(result, Err(BusError::Unacknowledged { .. })), "{result:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    cluster.broker_up(1).unwrap();
    let placed = publish(&publisher, &again).await;
    assert!(placed[0].offset < placed[1].offset);
    let unknown = Record { topic: "no.such".to_owned(), ..record("a", 3) };
    assert!(publisher.publish(&[unknown]).await[0].is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_every_record_is_worked_on_in_the_order_of_its_key() {
    let (_cluster, settings) = cluster();
    let (seen, work, keys) = (Seen::default(), Duration::from_millis(10), 40);
    let enough = CancellationToken::new();
    let publishing = tokio::spawn({
        let (publisher, enough) = (Publisher::new(settings.clone()), enough.clone());
        async move {
            let mut rounds = 0;
            while !enough.is_cancelled() {
                let records: Vec<Record> = (0..keys).map(|key| record(&format!("key-{key}"), rounds)).collect();
                publish(&publisher, &records).await;
                rounds += 1;
                sleep(Duration::from_millis(200)).await;
            }
            rounds
        }
    });
    let works = |member: usize| {
        let (seen, before) = (seen.clone(), seen.with(|log| log.by_member.get(&member).copied().unwrap_or(0)));
        move || seen.with(|log| log.by_member.get(&member).copied().unwrap_or(0) > before + 100)
    };
    let first = join(&settings, &seen, 1, work);
    until("the first member works", works(1)).await;
    let second = join(&settings, &seen, 2, work);
    until("the second member works", works(2)).await;
    until("the first member works on", works(1)).await;
    first.end().await;
    let third = join(&settings, &seen, 3, work);
    until("the third member works", works(3)).await;
    enough.cancel();
    let rounds = publishing.await.unwrap();
    until("all is done", || seen.distinct() == keys * rounds).await;
    assert_order(&seen, keys, rounds);
    assert_eq!(seen.with(|log| log.clashes.clone()), Vec::<String>::new(), "keys that two members worked on at once");
    second.end().await;
    // A broker takes no offsets while it divides the partitions anew: the third has them all when it has worked on each key once more.
    let more: Vec<Record> = (0..keys).map(|key| record(&format!("key-{key}"), rounds)).collect();
    publish(&Publisher::new(settings.clone()), &more).await;
    until("the third member works alone", || seen.distinct() == keys * (rounds + 1)).await;
    third.end().await;
    // What was committed on leaving is not given again.
    let after = Seen::default();
    let last = join(&settings, &after, 4, work);
    publish(&Publisher::new(settings), &[record("last", 0)]).await;
    until("the last member works", || after.distinct() > 0).await;
    last.end().await;
    assert_eq!(after.with(|log| log.numbers.keys().cloned().collect::<Vec<_>>()), ["last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_later_or_panics_is_given_again_before_the_next_of_its_key() {
    let (_cluster, settings) = cluster();
    publish(&Publisher::new(settings.clone()), &records(2, 3)).await;
    let seen: Arc<Mutex<Vec<(String, u32)>>> = Arc::default();
    let (stop, log) = (CancellationToken::new(), Arc::clone(&seen));
    let work = move |received: Received| {
        let log = Arc::clone(&log);
        async move {
            let text = format!("{} {}", String::from_utf8_lossy(&received.key), String::from_utf8_lossy(&received.payload));
            assert!(received.header("traceparent").is_some_and(|parent| parent.starts_with("00-0af7")));
            log.lock().unwrap().push((text.clone(), received.attempts));
            match (text.as_str(), received.attempts) {
                ("key-0 1", 0..2) => Verdict::Later(Duration::from_millis(50)),
                ("key-1 0", 0) => panic!("as if the work had a mistake"),
                _ => Verdict::Done,
            }
        }
    };
    let (stopped, options) = (stop.clone().cancelled_owned(), ConsumerOptions::new(TOPIC, "workers", 8));
    let task = tokio::spawn(async move { consume(&settings, options, stopped, work).await });
    until("all is done", || seen.lock().unwrap().len() >= 9).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let of = |key: &str| seen.lock().unwrap().iter().filter(|(text, _)| text.starts_with(key)).cloned().collect::<Vec<_>>();
    let expected = |records: &[(&str, u32)]| records.iter().map(|(text, attempt)| ((*text).to_owned(), *attempt)).collect::<Vec<_>>();
    assert_eq!(of("key-0"), expected(&[("key-0 0", 0), ("key-0 1", 0), ("key-0 1", 1), ("key-0 1", 2), ("key-0 2", 0)]));
    assert_eq!(of("key-1"), expected(&[("key-1 0", 0), ("key-1 0", 1), ("key-1 1", 0), ("key-1 2", 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_brokers_do_not_answer_is_left_in_time() {
    let (cluster, settings) = cluster();
    let (seen, settings) = (Seen::default(), BusSettings { limit: Duration::from_secs(2), ..settings });
    publish(&Publisher::new(settings.clone()), &records(8, 1)).await;
    let member = join(&settings, &seen, 0, Duration::ZERO);
    until("all is worked on", || seen.distinct() == 8).await;
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).unwrap();
    let started = Instant::now();
    member.end().await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_there_is_left_as_it_is_and_one_that_can_not_be_made_is_told() {
    let (_cluster, settings) = cluster();
    let topic = |name: &str, partitions| Topic { name: name.to_owned(), partitions, replication: None };
    assert_eq!(ensure_topic(&settings, &topic(TOPIC, 64)).await.unwrap(), Ensured::There(8));
    // The in-process cluster makes topics by other ways only, and does not say so.
    let refused = ensure_topic(&settings, &topic("other", 4)).await.unwrap_err();
    assert_eq!(refused.to_string(), "failed to see to it that topic `other` is there, with 4 partitions");
    let BusError::Topic { source, .. } = refused else { panic!("{refused:?}") };
    assert!(source.to_string().starts_with("Admin operation error"), "{source}");
    let nobody = BusSettings { limit: Duration::from_millis(500), ..BusSettings::new(vec!["127.0.0.1:1".to_owned()], "test") };
    assert!(matches!(ensure_topic(&nobody, &topic(TOPIC, 8)).await, Err(BusError::Topic { .. })));
}
