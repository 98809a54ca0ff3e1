//! How many records wait in each partition, as the brokers count.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use metrics::gauge;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::poll::{Group, list};
use super::tracker::Tracker;

/// Name of the gauge.
pub(crate) const LAG: &str = "event_bus_consumer_lag";
/// How often it is measured.
const PERIOD: Duration = Duration::from_secs(5);

/// Measures until it is stopped.
pub(crate) struct Lag {
    // Weak: the poller's thread must be the last to hold the consumer, for it is the one that waits for the handover.
    consumer: Arc<Mutex<Weak<BaseConsumer<Group>>>>,
    task: JoinHandle<()>,
    measuring: Arc<Mutex<()>>,
}

impl Lag {
    pub(crate) fn start(
        handle: &Handle,
        consumer: &Arc<BaseConsumer<Group>>,
        tracker: &Arc<Tracker>,
        topic: &str,
        limit: Duration,
    ) -> Self {
        let (consumer, measuring) = (Arc::new(Mutex::new(Arc::downgrade(consumer))), Arc::new(Mutex::new(())));
        let (source, held, tracker, topic) = (Arc::clone(&consumer), Arc::clone(&measuring), Arc::clone(tracker), topic.to_owned());
        let task = handle.spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                period.tick().await;
                let (source, held, tracker, topic) = (Arc::clone(&source), Arc::clone(&held), Arc::clone(&tracker), topic.clone());
                let measured = tokio::task::spawn_blocking(move || {
                    let _held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    let consumer = source.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                    consumer.map(|consumer| measure(&consumer, &tracker, &topic, limit))
                });
                if let Ok(Some(Err(error))) = measured.await {
                    tracing::debug!(error = error.to_string(), "lag not measured");
                }
            }
        });
        Self { consumer, task, measuring }
    }

    /// Goes on with another consumer.
    pub(crate) fn replace(&self, consumer: &Arc<BaseConsumer<Group>>) {
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(consumer);
    }

    /// Stops, and waits for the measurement that runs.
    pub(crate) fn stop(self) {
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
        self.task.abort();
        drop(self.measuring.lock());
    }
}

fn measure(consumer: &BaseConsumer<Group>, tracker: &Tracker, topic: &str, limit: Duration) -> KafkaResult<()> {
    let here = tracker.partitions();
    if here.is_empty() {
        return Ok(());
    }
    let every = |offset| list(topic, here.iter().map(|partition| (*partition, offset)));
    let committed = consumer.committed_offsets(every(Offset::Invalid), limit)?;
    let ends = consumer.offsets_for_times(every(Offset::End), limit)?;
    let begins = consumer.offsets_for_times(every(Offset::Beginning), limit)?;
    let of = |list: &rdkafka::TopicPartitionList, partition| match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    for partition in here {
        let (Some(end), begin) = (of(&ends, partition), of(&begins, partition).unwrap_or(0)) else { continue };
        // Below the beginning there is nothing left to wait for.
        let done = of(&committed, partition).unwrap_or(begin).max(begin);
        let waiting = u32::try_from(end.saturating_sub(done).max(0)).unwrap_or(u32::MAX);
        gauge!(LAG, "partition" => partition.to_string()).set(f64::from(waiting));
    }
    Ok(())
}
