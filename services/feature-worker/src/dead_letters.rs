//! Records that can't be worked on, kept where people find them.

use service_bus::{BusError, Publisher, Received, Record};

/// Takes what can't be worked on.
pub(crate) trait DeadLetters: Send + Sync {
    /// Keeps a record with the reason; it may be kept twice.
    fn bury<'a>(&'a self, received: &'a Received, reason: &'a str) -> futures::future::BoxFuture<'a, Result<(), BusError>>;
}

/// The dead-letter topic.
pub(crate) struct DeadLetterTopic {
    pub(crate) publisher: Publisher,
    pub(crate) topic: String,
}

impl DeadLetters for DeadLetterTopic {
    fn bury<'a>(&'a self, received: &'a Received, reason: &'a str) -> futures::future::BoxFuture<'a, Result<(), BusError>> {
        let mut headers = received.headers.clone();
        let place = format!("{}/{}/{}", received.topic, received.partition, received.offset);
        headers.extend([("dead_letter_reason".to_owned(), reason.to_owned()), ("dead_letter_source".to_owned(), place)]);
        let record = Record {
            topic: self.topic.clone(),
            key: String::from_utf8_lossy(&received.key).into_owned(),
            payload: received.payload.clone(),
            headers,
        };
        Box::pin(async move { self.publisher.publish(&[record]).await.into_iter().try_for_each(|placed| placed.map(drop)) })
    }
}
