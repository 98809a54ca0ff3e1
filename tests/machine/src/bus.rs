//! The platform's event bus, read from its beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use provision_apply::Cluster;
use provision_model::ResourceId;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::Machine;

const LIMIT: Duration = Duration::from_secs(10);

/// An event as the bus holds it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The event.
    pub(crate) event: Value,
    /// Its header `traceparent`.
    pub(crate) trace: Option<String>,
}

impl Machine {
    /// Reads every event that the bus holds: by feature, in the order of the bus.
    ///
    /// # Panics
    /// When the bus does not answer, or an event is no JSON.
    pub async fn events_on_the_bus(&self) -> BTreeMap<String, Vec<Value>> {
        let told = all_events(self.broker().await).await;
        told.into_iter().map(|(id, events)| (id, events.into_iter().map(|told| told.event).collect())).collect()
    }

    /// Returns the address of the broker.
    ///
    /// # Panics
    /// When there is none.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub async fn broker(&self) -> String {
        let pod = ResourceId::namespaced("", "Pod", "feature-system", "event-bus-0");
        let pod = self.cluster().await.get(&pod).await.expect("an answer").expect("the bus's pod");
        format!("{}:9092", pod.text("/status/podIP").expect("an address"))
    }
}

/// Reads every event that a bus holds: by feature, in the order of the bus.
#[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
pub(crate) async fn all_events(broker: String) -> BTreeMap<String, Vec<Told>> {
    tokio::task::spawn_blocking(move || read(&broker)).await.expect("the reader ends")
}

/// Asks a broker which partitions a topic has; none if it is not there.
///
/// # Panics
/// When the broker does not answer.
pub async fn partitions(broker: &str, topic: &'static str) -> Vec<i32> {
    let broker = broker.to_owned();
    let asked = tokio::task::spawn_blocking(move || partitions_of(&reader(&broker), topic));
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    asked.await.expect("the asker ends")
}

#[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
fn reader(broker: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "reader of the tests").set("enable.auto.commit", "false");
    config.create().expect("a consumer")
}

#[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
fn partitions_of(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("metadata");
    metadata.topics()[0].partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect()
}

#[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
fn read(broker: &str) -> BTreeMap<String, Vec<Told>> {
    let consumer = reader(broker);
    let topic = "feature.events";
    let partitions = partitions_of(&consumer, topic);
    let (mut wanted, mut left) = (TopicPartitionList::new(), 0);
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).expect("watermarks");
        if high > low {
            wanted.add_partition_offset(topic, partition, Offset::Offset(low)).expect("a partition");
            left += high - low;
        }
    }
    consumer.assign(&wanted).expect("an assignment");
    let mut events: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    while left > 0 {
        let message = consumer.poll(LIMIT).expect("the bus gives what it has").expect("a message");
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        let event = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
        let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == "traceparent")?.value);
        let trace = header.map(|header| String::from_utf8_lossy(header).into_owned());
        events.entry(key).or_default().push(Told { event, trace });
        left -= 1;
    }
    events
}
