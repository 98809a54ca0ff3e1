//! The event bus as the publisher needs it.

use std::collections::BTreeMap;
use std::future::Future;

use feature_store::StoredEvent;
use service_bus::{BusError, Placed, Publisher, Record};

/// A log in partitions that keeps what it has acknowledged, for as long as it keeps its log.
pub(crate) trait Bus: Send + Sync {
    /// Appends events, those of a feature to one partition; the results are in the order of the events.
    ///
    /// If one of a feature's events fails, no later one of the batch succeeds.
    fn publish(&self, events: &[StoredEvent]) -> impl Future<Output = Vec<Result<Placed, BusError>>> + Send;

    /// Returns for each partition the offset that the next event gets.
    fn ends(&self) -> impl Future<Output = Result<BTreeMap<i32, i64>, BusError>> + Send;
}

/// Kafka, or what speaks its protocol.
pub(crate) struct KafkaBus {
    pub(crate) publisher: Publisher,
    pub(crate) topic: String,
}

impl Bus for KafkaBus {
    async fn publish(&self, events: &[StoredEvent]) -> Vec<Result<Placed, BusError>> {
        let records: Vec<Record> = events.iter().map(|event| record(&self.topic, event)).collect();
        self.publisher.publish(&records).await
    }

    async fn ends(&self) -> Result<BTreeMap<i32, i64>, BusError> {
        self.publisher.high_watermarks(&self.topic).await
    }
}

fn record(topic: &str, stored: &StoredEvent) -> Record {
    let record = Record {
        topic: topic.to_owned(),
        key: stored.event.feature_execution_id.clone(),
        // Fails only for maps with keys that are no text; an event has none.
        payload: serde_json::to_vec(&stored.event).unwrap_or_default(),
        headers: Vec::new(),
    };
    record.traced(stored.trace.parent.as_deref(), stored.trace.state.as_deref())
}

#[cfg(test)]
pub(crate) mod memory;

#[cfg(test)]
mod tests {
    use feature_api::feature::{Event, State};
    use feature_store::Trace;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_record_is_the_event_as_json_under_its_features_id_with_its_trace() {
        let event = Event {
            id: "e".to_owned(),
            feature_execution_id: "f".to_owned(),
            event_type: "feature.created".to_owned(),
            state: State::Pending.into(),
            ..Event::default()
        };
        let trace = Trace { parent: Some("00-1-2-01".to_owned()), state: None };
        let record = record("feature.events", &StoredEvent { id: Uuid::nil(), feature: Uuid::nil(), position: 1, trace, event });
        assert_eq!((record.topic.as_str(), record.key.as_str()), ("feature.events", "f"));
        assert_eq!(record.headers, [("traceparent".to_owned(), "00-1-2-01".to_owned())]);
        let expected =
            r#"{"id":"e","feature_execution_id":"f","sequence":0,"event_type":"feature.created","state":"PENDING","created_at":""}"#;
        assert_eq!(String::from_utf8(record.payload).unwrap(), expected);
    }
}
