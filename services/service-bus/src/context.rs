//! Where librdkafka's own words go: into the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// How long the same trouble is not repeated in the log: a broker that is down is reported several times a second.
const QUIET: Duration = Duration::from_secs(30);

/// Takes the words of one client.
pub(crate) struct Words {
    client: &'static str,
    last: Mutex<Option<(String, Instant)>>,
}

impl Words {
    pub(crate) fn new(client: &'static str) -> Self {
        Self { client, last: Mutex::new(None) }
    }

    /// Tells whether these words were not said lately, and remembers them.
    fn is_news(&self, words: &str) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().is_some_and(|(said, at)| said == words && at.elapsed() < QUIET);
        if !known {
            *last = Some((words.to_owned(), Instant::now()));
        }
        !known
    }
}

impl ClientContext for Words {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(client, facility, "event bus: {message}");
            }
            // Lost connections are told as errors too, by `error`.
            _ => tracing::debug!(client, facility, "event bus: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().map(|code| code.to_string()).unwrap_or_default();
        if self.is_news(&code) {
            tracing::warn!(client = self.client, error = code, "event bus: {reason}");
        }
    }
}
