//! A bus that can lose its log: librdkafka's in-process cluster behind an address that stays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feature_api::feature::Event;
use feature_store::{Acknowledged, Outbox, Store};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use service_bus::{BusSettings, Publisher, Record};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "feature.events";
pub(crate) const DEAD: &str = "feature.events.dead";
const PARTITIONS: i32 = 8;

type Cluster = MockCluster<'static, DefaultProducerContext>;

pub(crate) struct Bus {
    cluster: Option<Cluster>,
    broker: Arc<Mutex<Option<SocketAddr>>>,
    pub(crate) address: String,
    forward: JoinHandle<()>,
}

impl Bus {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let broker: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let known = Arc::clone(&broker);
        let forward = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let broker = *known.lock().unwrap();
                tokio::spawn(async move {
                    let Some(broker) = broker else { return };
                    let Ok(mut server) = TcpStream::connect(broker).await else { return };
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        let mut bus = Self { cluster: None, broker, address, forward };
        bus.come_back();
        bus
    }

    /// Ends the bus, and its log with it.
    pub(crate) fn die(&mut self) {
        *self.broker.lock().unwrap() = None;
        self.cluster = None;
    }

    /// Starts an empty bus, on another port behind the same address.
    pub(crate) fn come_back(&mut self) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        cluster.create_topic(DEAD, 1, 1).unwrap();
        *self.broker.lock().unwrap() = Some(cluster.bootstrap_servers().parse().unwrap());
        self.cluster = Some(cluster);
    }

    pub(crate) fn settings(&self) -> BusSettings {
        BusSettings { limit: Duration::from_secs(2), ..BusSettings::new(vec![self.address.clone()], "test") }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.forward.abort();
    }
}

/// Publishes the outbox as the feature service does, until it is dropped.
pub(crate) struct Publishing(JoinHandle<()>);

impl Publishing {
    pub(crate) fn start(store: Store, bus: &Bus) -> Self {
        let publisher = Publisher::new(bus.settings());
        Self(tokio::spawn(async move {
            let mut outbox = Outbox::try_lead(store.pool()).await.unwrap().unwrap();
            loop {
                publish_once(&mut outbox, &publisher).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn publish_once(outbox: &mut Outbox, publisher: &Publisher) {
    let Ok(high) = publisher.high_watermarks(TOPIC).await else { return };
    let known = outbox.highest_offsets().await.unwrap();
    if known.iter().any(|(partition, highest)| high.get(partition).is_some_and(|end| end <= highest)) {
        outbox.republish_unfinished().await.unwrap();
    }
    let events = outbox.unpublished(500).await.unwrap();
    let records: Vec<Record> = events
        .iter()
        .map(|event| {
            let payload = serde_json::to_vec(&event.event).unwrap();
            let record = Record { topic: TOPIC.to_owned(), key: event.feature.to_string(), payload, headers: vec![] };
            record.traced(event.trace.parent.as_deref(), event.trace.state.as_deref())
        })
        .collect();
    let placed = publisher.publish(&records).await;
    let acknowledged: Vec<Acknowledged> = events
        .iter()
        .zip(placed)
        .filter_map(|(event, placed)| {
            let placed = placed.ok()?;
            Some(Acknowledged { event: event.id, partition: placed.partition, offset: placed.offset })
        })
        .collect();
    if !acknowledged.is_empty() {
        outbox.mark_published(&acknowledged).await.unwrap();
    }
}

/// Payload and headers of a record.
type Content = (Vec<u8>, BTreeMap<String, String>);

/// Reads what a topic holds, by partition in their order.
pub(crate) async fn contents(bus: &Bus, topic: &'static str) -> Vec<Content> {
    use service_bus::{ConsumerOptions, Verdict, consume};
    let expected: i64 = Publisher::new(bus.settings()).high_watermarks(topic).await.unwrap().values().sum();
    let expected = usize::try_from(expected).unwrap();
    let read: Arc<Mutex<Vec<Content>>> = Arc::default();
    let (log, seen) = (Arc::clone(&read), Arc::clone(&read));
    let all = async move {
        while seen.lock().unwrap().len() < expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let work = move |received: service_bus::Received| {
        log.lock().unwrap().push((received.payload, received.headers.into_iter().collect()));
        async { Verdict::Done }
    };
    let options = ConsumerOptions::new(topic, format!("reader-of-{topic}"), 1);
    let settings = bus.settings();
    let consumed = consume(&settings, options, all, work);
    tokio::time::timeout(Duration::from_secs(60), consumed).await.unwrap().unwrap();
    let read = read.lock().unwrap();
    read.clone()
}

/// Reads the events of all features from the bus, each feature's in the order of the bus, repeats left out.
pub(crate) async fn events(bus: &Bus) -> BTreeMap<String, Vec<Event>> {
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for (payload, _) in contents(bus, TOPIC).await {
        let event: Event = serde_json::from_slice(&payload).unwrap();
        let of_feature = events.entry(event.feature_execution_id.clone()).or_default();
        if !of_feature.iter().any(|known| known.sequence == event.sequence) {
            of_feature.push(event);
        }
    }
    events
}
