use std::time::Duration;

use rdkafka::error::KafkaError;
use thiserror::Error;

/// Why the event bus did not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum BusError {
    /// The client can't be set up as configured.
    #[error("failed to set up the event bus's {client}")]
    Client {
        /// `publisher`, `consumer`.
        client: &'static str,
        /// What librdkafka says.
        #[source]
        source: Box<KafkaError>,
    },
    /// A record was refused, or given up.
    #[error("failed to publish a record of key `{key}` to topic `{topic}`")]
    Refused {
        /// Topic of the record.
        topic: String,
        /// Key of the record.
        key: String,
        /// What librdkafka says.
        #[source]
        source: Box<KafkaError>,
    },
    /// No broker acknowledged a record in time; it may be in the log all the same.
    #[error("no acknowledgement of a record of key `{key}` in topic `{topic}` within {} s", limit.as_secs())]
    Unacknowledged {
        /// Topic of the record.
        topic: String,
        /// Key of the record.
        key: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The ends of a topic's partitions can't be told.
    #[error("failed to ask how far topic `{topic}` reaches")]
    Watermarks {
        /// The topic.
        topic: String,
        /// What librdkafka says.
        #[source]
        source: Box<KafkaError>,
    },
    /// A topic is missing and can't be made.
    #[error("failed to see to it that topic `{topic}` is there, with {partitions} partitions")]
    Topic {
        /// The topic.
        topic: String,
        /// Partitions that it was to have.
        partitions: u32,
        /// What the brokers or librdkafka say.
        #[source]
        source: Box<KafkaError>,
    },
    /// A thread of the client ended without a result.
    #[error("the event bus's {0} ended unexpectedly")]
    Ended(&'static str),
}
