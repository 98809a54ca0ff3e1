//! The topics of the event bus: made at the start where they are missing.

use std::time::Duration;

use service_bus::{BusSettings, Ensured, Topic, ensure_topic};
use service_kit::{BoxError, Lifecycle, words};

/// Wait after a failure: a bus that is away comes back, and one that refuses may be told otherwise.
const PAUSE: Duration = Duration::from_secs(5);

/// Sees to it that topics are there, then waits until the service stops.
pub(crate) async fn keep(settings: BusSettings, topics: impl IntoIterator<Item = Topic>, lifecycle: Lifecycle) -> Result<(), BoxError> {
    let work = async {
        for topic in topics {
            ensure(&settings, &topic).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        () = lifecycle.stopping() => {}
    }
    Ok(())
}

async fn ensure(settings: &BusSettings, topic: &Topic) {
    let Topic { name, partitions: wanted, .. } = topic;
    let mut told = None;
    loop {
        match ensure_topic(settings, topic).await {
            Ok(Ensured::Made) => {
                tracing::info!(topic = name, partitions = wanted, "topic made");
                return;
            }
            Ok(Ensured::There(found)) if found == *wanted => return,
            Ok(Ensured::There(found)) => {
                tracing::warn!(topic = name, partitions = found, wanted, "the topic has another number of partitions than configured");
                return;
            }
            Err(error) => {
                let cause = words(&error);
                if told.as_ref() != Some(&cause) {
                    tracing::warn!(topic = name, error = cause, "the topic is not there; trying again");
                    told = Some(cause);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
