//! The publisher: brings events from the outbox to the event bus, each feature's in its order.
//!
//! One process publishes at a time. An event is marked after the bus has acknowledged it; one that is published twice because a mark was
//! not written finds its state already left. The bus may come back without its log: an acknowledged offset that is not above all earlier
//! ones, or a partition that ends below them, shows it, and the events of every feature that has not ended are published anew.

mod bus;

use std::collections::BTreeMap;
use std::time::Duration;

use feature_store::{Acknowledged, Outbox, Store, StoreError, StoredEvent};
use metrics::{counter, gauge};
use service_kit::{BoxError, Lifecycle};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use bus::{Bus, KafkaBus};

/// Events of one batch.
const BATCH: u32 = 2000;
/// How often to try to lead, and to try again after a failure.
const POLL: Duration = Duration::from_secs(1);
/// How often to look when nothing is told.
const QUIET: Duration = Duration::from_secs(5);
/// How often to ask the bus whether it still has its log.
const LOG_CHECK: Duration = Duration::from_secs(5);

/// What the publisher works with.
pub(crate) struct Publisher<B> {
    pub(crate) store: Store,
    pub(crate) bus: B,
    pub(crate) wake: watch::Receiver<()>,
}

impl<B: Bus> Publisher<B> {
    /// Publishes whenever this process is the one that does, until the service stops.
    pub(crate) async fn run(mut self, lifecycle: Lifecycle) -> Result<(), BoxError> {
        tokio::select! {
            () = self.work() => {}
            // A batch that is cut off is published again, by the next one.
            () = lifecycle.stopping() => {}
        }
        Ok(())
    }

    async fn work(&mut self) {
        loop {
            match Outbox::try_lead(self.store.pool()).await {
                Ok(Some(outbox)) => {
                    tracing::info!("publishing events");
                    gauge!("outbox_publishing").set(1.0);
                    let error = Lead { outbox, bus: &self.bus, highest: BTreeMap::new(), checked: None }.work(&mut self.wake).await;
                    gauge!("outbox_publishing").set(0.0);
                    tracing::warn!(error = service_kit::words(&error), "stopped publishing events");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(error = service_kit::words(&error), "failed to become the one that publishes events"),
            }
            sleep(POLL).await;
        }
    }
}

/// The one that publishes.
struct Lead<'a, B> {
    outbox: Outbox,
    bus: &'a B,
    /// Highest acknowledged offset of each partition, as in the database.
    highest: BTreeMap<i32, i64>,
    /// When the bus was last seen with its log.
    checked: Option<Instant>,
}

impl<B: Bus> Lead<'_, B> {
    /// Publishes until the right to do so is lost.
    async fn work(mut self, wake: &mut watch::Receiver<()>) -> StoreError {
        loop {
            if let Err(error) = self.publish_what_is_there(wake).await {
                return error;
            }
        }
    }

    async fn publish_what_is_there(&mut self, wake: &mut watch::Receiver<()>) -> Result<(), StoreError> {
        self.check_log().await?;
        // Before reading: what comes while events are read must wake again.
        wake.mark_unchanged();
        let events = self.outbox.unpublished(BATCH).await?;
        if events.is_empty() {
            // Whether woken or not, looking is right; if nobody can wake any more the service stops.
            drop(timeout(QUIET, wake.changed()).await);
            return Ok(());
        }
        let acknowledged = self.publish(&events).await;
        if acknowledged.iter().any(|a| self.highest.get(&a.partition).is_some_and(|highest| a.offset <= *highest)) {
            return self.begin_anew().await;
        }
        if acknowledged.len() < events.len() {
            tracing::warn!(published = acknowledged.len(), of = events.len(), "the event bus did not take all events; trying again");
        }
        if acknowledged.is_empty() {
            sleep(POLL).await;
            return Ok(());
        }
        self.outbox.mark_published(&acknowledged).await?;
        counter!("outbox_published_total").increment(u64::try_from(acknowledged.len()).unwrap_or_default());
        for Acknowledged { partition, offset, .. } in acknowledged {
            let highest = self.highest.entry(partition).or_insert(offset);
            *highest = offset.max(*highest);
        }
        Ok(())
    }

    /// Publishes a batch and returns what the bus has taken.
    async fn publish(&self, events: &[StoredEvent]) -> Vec<Acknowledged> {
        let placed = self.bus.publish(events).await;
        if let Some(error) = placed.iter().find_map(|placed| placed.as_ref().err()) {
            tracing::warn!(error = service_kit::words(error), "an event was not published");
        }
        let taken = events.iter().zip(placed).filter_map(|(event, placed)| Some((event, placed.ok()?)));
        taken.map(|(event, placed)| Acknowledged { event: event.id, partition: placed.partition, offset: placed.offset }).collect()
    }

    /// Asks the bus now and then whether it still has what it has acknowledged.
    async fn check_log(&mut self) -> Result<(), StoreError> {
        if self.checked.is_some_and(|checked| checked.elapsed() < LOG_CHECK) {
            return Ok(());
        }
        if self.checked.is_none() {
            self.highest = self.outbox.highest_offsets().await?;
        }
        self.checked = Some(Instant::now());
        let ends = match self.bus.ends().await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::debug!(error = service_kit::words(&error), "the event bus does not tell how far it reaches");
                return Ok(());
            }
        };
        // A partition that is not told of says nothing: some brokers leave out those without a leader.
        let lost = self.highest.iter().any(|(partition, highest)| ends.get(partition).is_some_and(|end| end <= highest));
        if lost { self.begin_anew().await } else { Ok(()) }
    }

    async fn begin_anew(&mut self) -> Result<(), StoreError> {
        let events = self.outbox.republish_unfinished().await?;
        self.highest.clear();
        counter!("outbox_log_lost_total").increment(1);
        tracing::warn!(events, "the event bus has lost its log; publishing the events of features that have not ended anew");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
