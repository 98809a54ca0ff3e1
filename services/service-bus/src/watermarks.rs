//! How far the partitions of a topic reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::context::Words;
use crate::{BusError, BusSettings};

impl ConsumerContext for Words {}

/// Asks for the ends of partitions; clones share the connection.
#[derive(Clone)]
pub(crate) struct Watermarks {
    settings: BusSettings,
    client: Arc<Mutex<Option<Arc<BaseConsumer<Words>>>>>,
}

impl Watermarks {
    pub(crate) fn new(settings: BusSettings) -> Self {
        Self { settings, client: Arc::default() }
    }

    /// Returns for each partition of a topic the offset that the next record gets.
    pub(crate) async fn high(&self, topic: &str) -> Result<BTreeMap<i32, i64>, BusError> {
        let (asker, name) = (self.clone(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || asker.ask(&name)).await;
        let asked = asked.map_err(|_| BusError::Ended("watermarks"))?;
        asked.map_err(|source| BusError::Watermarks { topic: topic.to_owned(), source: Box::new(source) })
    }

    fn ask(&self, topic: &str) -> KafkaResult<BTreeMap<i32, i64>> {
        let client = self.client()?;
        let answer = ends(&client, topic, self.settings.limit);
        // Events of the client pile up if nobody takes them.
        while client.poll(Duration::ZERO).is_some() {}
        if answer.is_err() {
            // The next asker begins anew: where brokers were before says nothing after a failure.
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        answer
    }

    fn client(&self) -> KafkaResult<Arc<BaseConsumer<Words>>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(Arc::clone(client));
        }
        let made: BaseConsumer<Words> = self.settings.client().create_with_context(Words::new("watermarks"))?;
        Ok(Arc::clone(client.insert(Arc::new(made))))
    }
}

fn ends(client: &BaseConsumer<Words>, topic: &str, limit: Duration) -> KafkaResult<BTreeMap<i32, i64>> {
    let metadata = client.fetch_metadata(Some(topic), limit)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
    let known = known.filter(|known| !known.partitions().is_empty());
    let known = known.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))?;
    let mut asked = TopicPartitionList::with_capacity(known.partitions().len());
    for partition in known.partitions() {
        asked.add_partition_offset(topic, partition.id(), Offset::End)?;
    }
    // One request to each leader, where asking partition by partition would be a request each.
    let answer = client.offsets_for_times(asked, limit)?;
    let mut ends = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(end) = element.offset() {
            ends.insert(element.partition(), end);
        }
    }
    Ok(ends)
}
