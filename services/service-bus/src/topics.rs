//! Topics, made where they are missing.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::context::Words;
use crate::{BusError, BusSettings};

/// A topic as it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each partition; the brokers' own number if none.
    pub replication: Option<u32>,
}

/// What became of the wish for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Made,
    /// It was there, with this number of partitions.
    There(u32),
}

/// Makes a topic unless it is there; one that is there stays as it is.
///
/// Brokers that can't make topics, as the in-process one, are asked for nothing but what they have.
///
/// # Errors
/// [`BusError::Topic`] if no broker answers or the brokers refuse to make it.
pub async fn ensure_topic(settings: &BusSettings, topic: &Topic) -> Result<Ensured, BusError> {
    let refused = |source| BusError::Topic { topic: topic.name.clone(), partitions: topic.partitions, source: Box::new(source) };
    let ended = |_| BusError::Ended("topic's maker");
    let (asker, name) = (settings.clone(), topic.name.clone());
    let found = tokio::task::spawn_blocking(move || partitions(&asker, &name)).await.map_err(ended)?;
    if let Some(partitions) = found.map_err(refused)? {
        return Ok(Ensured::There(partitions));
    }
    let client: AdminClient<Words> = settings
        .client()
        .create_with_context(Words::new("topic's maker"))
        .map_err(|source| BusError::Client { client: "topic's maker", source: Box::new(source) })?;
    let made = make(settings, &client, topic).await;
    // Ending it waits for its thread.
    tokio::task::spawn_blocking(move || drop(client)).await.map_err(ended)?;
    made.map_err(refused)
}

/// Returns how many partitions a topic has; none if it is not there.
fn partitions(settings: &BusSettings, name: &str) -> KafkaResult<Option<u32>> {
    // A consumer's question, unlike a producer's, makes no topic by being asked.
    let client: BaseConsumer<Words> = settings.client().create_with_context(Words::new("topic's maker"))?;
    let metadata = client.fetch_metadata(Some(name), settings.limit)?;
    let Some(known) = metadata.topics().iter().find(|known| known.name() == name) else { return Ok(None) };
    match known.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(u32::try_from(known.partitions().len()).unwrap_or(u32::MAX)).filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

async fn make(settings: &BusSettings, client: &AdminClient<Words>, topic: &Topic) -> KafkaResult<Ensured> {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    // -1: the brokers' own.
    let new = NewTopic::new(&topic.name, count(topic.partitions), TopicReplication::Fixed(topic.replication.map_or(-1, count)));
    let options = AdminOptions::new().request_timeout(Some(settings.limit)).operation_timeout(Some(settings.limit));
    for result in client.create_topics([&new], &options).await? {
        match result {
            // Another one was faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(Ensured::Made)
}
