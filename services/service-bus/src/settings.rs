use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// How a process reaches the event bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusSettings {
    /// Where to begin, `host:port`; the brokers tell of each other.
    pub brokers: Vec<String>,
    /// Name of this process in the brokers' logs.
    pub client_id: String,
    /// Longest time for one request, and for the acknowledgements of one batch.
    pub limit: Duration,
}

impl BusSettings {
    /// Takes the brokers and a name; requests may take ten seconds.
    pub fn new(brokers: Vec<String>, client_id: impl Into<String>) -> Self {
        Self { brokers, client_id: client_id.into(), limit: Duration::from_secs(10) }
    }

    /// Returns what every client is configured with; encryption and logins belong here.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            // Brokers may come back on other ports behind the address that is known.
            .set("metadata.recovery.strategy", "rebootstrap")
            .set("metadata.recovery.rebootstrap.trigger.ms", "5000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.connection.setup.timeout.ms", "5000")
            // A topic that is made later, or made anew, is noticed.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }
}

/// Returns the topic of the features' events.
pub fn event_topic(prefix: &str) -> String {
    format!("{prefix}.events")
}

/// Returns the topic of the records that can't be worked on at all.
pub fn dead_letter_topic(prefix: &str) -> String {
    format!("{prefix}.events.dead")
}
