//! Records into the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer, PurgeConfig};
use tokio::time::{Instant, timeout, timeout_at};

use crate::context::Words;
use crate::watermarks::Watermarks;
use crate::{BusError, BusSettings};

/// How long the results of records that were given up may take.
const GIVING_UP: Duration = Duration::from_secs(2);

type Client = FutureProducer<Words>;

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Key: records of one key go to one partition, in the order in which they were published.
    pub key: String,
    /// Content.
    pub payload: Vec<u8>,
    /// Headers, as `traceparent`.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// Adds the headers of the trace context, those that are known.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        let known = [("traceparent", traceparent), ("tracestate", tracestate)].into_iter();
        self.headers.extend(known.filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        self
    }
}

/// Where a record is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Publishes records; clones share the connection.
///
/// A record that is acknowledged is on all replicas that are in sync. One that failed may be in the log as well: whoever publishes it
/// again makes it appear twice, never out of order.
#[derive(Clone)]
pub struct Publisher {
    settings: BusSettings,
    client: Arc<Mutex<Option<Client>>>,
    watermarks: Watermarks,
}

impl Publisher {
    /// Makes a publisher without connecting.
    pub fn new(settings: BusSettings) -> Self {
        Self { watermarks: Watermarks::new(settings.clone()), settings, client: Arc::default() }
    }

    /// Publishes records together and returns for each, in their order, where it went.
    ///
    /// It takes at most the settings' limit, and two seconds more where that is passed. If a record fails, no later one of its
    /// partition succeeds. One batch at a time: with several at once the order of their keys is nobody's.
    pub async fn publish(&self, records: &[Record]) -> Vec<Result<Placed, BusError>> {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return records.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Vec::with_capacity(records.len());
        let deadline = Instant::now() + self.settings.limit;
        let mut refused = None;
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            // After one that could not even be queued, none may overtake it.
            sent.push(match &refused {
                Some(error) => Err(KafkaError::clone(error)),
                None => send(&client, record).inspect_err(|error| refused = Some(error.clone())),
            });
        }
        for (record, sent) in records.iter().zip(sent) {
            results.push(match sent {
                Ok(delivery) => self.placed(&client, record, delivery, deadline).await,
                Err(source) => Err(BusError::Refused { topic: record.topic.clone(), key: record.key.clone(), source: Box::new(source) }),
            });
        }
        if results.iter().any(Result::is_err) {
            drop(client);
            self.begin_anew();
        }
        results
    }

    /// Returns for each partition of `topic` the offset that the next record gets: one below an offset that was given out once means that
    /// the bus lost its log.
    ///
    /// # Errors
    /// [`BusError::Watermarks`] if the topic is not there or the brokers don't answer.
    pub async fn high_watermarks(&self, topic: &str) -> Result<BTreeMap<i32, i64>, BusError> {
        self.watermarks.high(topic).await
    }

    /// Waits for the end of a record's way; at the deadline all that is not acknowledged is given up at once, so that nothing overtakes.
    async fn placed(&self, client: &Client, record: &Record, mut delivery: DeliveryFuture, deadline: Instant) -> Result<Placed, BusError> {
        let (topic, key) = (record.topic.clone(), record.key.clone());
        let late = || BusError::Unacknowledged { topic: topic.clone(), key: key.clone(), limit: self.settings.limit };
        let result = match timeout_at(deadline, &mut delivery).await {
            Ok(result) => result,
            Err(_) => {
                client.purge(PurgeConfig::default().queue().inflight());
                timeout(GIVING_UP, delivery).await.map_err(|_| late())?
            }
        };
        match result {
            Ok(Ok(delivery)) => Ok(Placed { partition: delivery.partition, offset: delivery.offset }),
            Ok(Err((source, _))) if is_given_up(&source) => Err(late()),
            Ok(Err((source, _))) => Err(BusError::Refused { topic, key, source: Box::new(source) }),
            Err(_) => Err(BusError::Ended("publisher")),
        }
    }

    fn client(&self) -> Result<Client, BusError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let mut config = self.settings.client();
        config
            .set("enable.idempotence", "true")
            // What can't be put where it belongs stops the producer rather than leave a gap.
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            // The partition that every other Kafka client would choose.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            // Given up together, by `publish`: one record that runs out of time alone would be overtaken by the next.
            .set("message.timeout.ms", "0");
        let made: Client = config
            .create_with_context(Words::new("publisher"))
            .map_err(|source| BusError::Client { client: "publisher", source: Box::new(source) })?;
        Ok(client.insert(made).clone())
    }

    /// Drops the client: after a failure its idea of the brokers, and theirs of it, may not fit any more.
    fn begin_anew(&self) {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Ending it waits for its thread.
        drop(tokio::task::spawn_blocking(move || drop(client)));
    }
}

fn send(client: &Client, record: &Record) -> Result<DeliveryFuture, KafkaError> {
    let headers = record.headers.iter().fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let record = FutureRecord::to(&record.topic).key(&record.key).payload(&record.payload).headers(headers);
    client.send_result(record).map_err(|(error, _)| error)
}

fn is_given_up(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}
