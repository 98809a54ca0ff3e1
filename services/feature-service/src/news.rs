//! News of events: one connection listens, for the publisher and for all who watch.
//!
//! A notification says only that there is something new; what it is is read from the database, and looked for now and then too, since
//! notifications that nobody listened to are gone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use feature_store::{CHANNEL, Store, StoreError, StoredEvent};
use service_kit::{BoxError, Lifecycle};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{Mutex, broadcast, watch};

/// How often to look while nobody listens.
const POLL: Duration = Duration::from_secs(1);
/// How often to look while somebody listens and nothing is told: a connection may be dead without a word.
const QUIET: Duration = Duration::from_secs(5);
/// Events that a watcher may be behind before its stream ends.
const BUFFER: usize = 4096;
/// How far back a transaction's events may be that ended later than younger ones.
const BEHIND: i64 = 500;
/// How long such a transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that are read at once.
const PAGE: u32 = 1000;

/// News of events; clones tell the same.
#[derive(Clone)]
pub(crate) struct News {
    store: Store,
    wake: Arc<watch::Sender<()>>,
    events: broadcast::Sender<Arc<StoredEvent>>,
    seen: Arc<Mutex<Seen>>,
}

/// A watcher's part of the news.
pub(crate) struct Subscription {
    /// Events in the order in which they were seen.
    pub(crate) events: broadcast::Receiver<Arc<StoredEvent>>,
    /// Position up to which events are not told any more, but for those that were not to be seen yet.
    pub(crate) from: i64,
}

/// How far the events were read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    last: i64,
    /// Positions before `last` that were not there, and since when: of transactions that have not ended, or were undone.
    missing: BTreeMap<i64, Instant>,
}

impl Seen {
    /// Begins at the end of what is there; `recent` are the last positions.
    fn at_end(recent: &[i64], now: Instant) -> Self {
        let mut seen = Self { last: recent.first().map_or(0, |first| first - 1), missing: BTreeMap::new() };
        recent.iter().for_each(|position| seen.note(*position, now));
        seen
    }

    /// Notes that an event was read.
    fn note(&mut self, position: i64, now: Instant) {
        self.missing.remove(&position);
        if position > self.last {
            // What is too far behind comes to watchers of its feature by their own reading.
            let from = (self.last + 1).max(position - BEHIND);
            self.missing.extend((from..position).map(|missing| (missing, now)));
            self.last = position;
        }
    }

    fn forget_the_undone(&mut self, now: Instant) {
        self.missing.retain(|_, since| now.duration_since(*since) < PATIENCE);
    }

    fn missing(&self) -> Vec<i64> {
        self.missing.keys().copied().collect()
    }
}

impl News {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, wake: Arc::new(watch::Sender::new(())), events: broadcast::Sender::new(BUFFER), seen: Arc::default() }
    }

    /// Returns what changes whenever there may be new events.
    pub(crate) fn wake(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }

    /// Begins to watch: everything after the returned position is told.
    pub(crate) async fn subscribe(&self) -> Result<Subscription, StoreError> {
        let mut seen = self.seen.lock().await;
        if self.events.receiver_count() == 0 {
            // Nothing was read while nobody watched.
            let last = self.store.last_position().await?;
            let recent = self.store.events_after((last - BEHIND).max(0), &[], PAGE).await?;
            let recent: Vec<i64> = recent.iter().map(|event| event.position).collect();
            *seen = Seen::at_end(&recent, Instant::now());
        }
        Ok(Subscription { events: self.events.subscribe(), from: seen.last })
    }

    /// Listens until the service stops.
    pub(crate) async fn listen(self, lifecycle: Lifecycle) -> Result<(), BoxError> {
        tokio::select! {
            () = self.follow() => {}
            () = lifecycle.stopping() => {}
        }
        Ok(())
    }

    async fn follow(&self) {
        // A pool of its own: the listener keeps its connection for good.
        let options = (*self.store.pool().connect_options()).clone();
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options);
        loop {
            let broken = match PgListener::connect_with(&pool).await {
                Ok(listener) => self.hear(listener).await,
                Err(error) => error,
            };
            tracing::warn!(error = service_kit::words(&broken), "no news from the database; looking for them every second");
            self.tell().await;
            tokio::time::sleep(POLL).await;
        }
    }

    async fn hear(&self, mut listener: PgListener) -> sqlx::Error {
        if let Err(error) = listener.listen(CHANNEL).await {
            return error;
        }
        loop {
            self.tell().await;
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                // Many may have come meanwhile; they all say the same.
                Ok(Ok(Some(_))) => while let Ok(Ok(Some(_))) = tokio::time::timeout(Duration::ZERO, listener.try_recv()).await {},
                // Cut off and connected again, or nothing heard: looked for in any case.
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return error,
            }
        }
    }

    /// Wakes who waits, and reads the new events for those who watch.
    async fn tell(&self) {
        self.wake.send_replace(());
        let mut seen = self.seen.lock().await;
        while self.events.receiver_count() > 0 {
            let now = Instant::now();
            seen.forget_the_undone(now);
            let Ok(events) = self.store.events_after(seen.last, &seen.missing(), PAGE).await else { return };
            let whole = events.len() < PAGE as usize;
            for event in events {
                seen.note(event.position, now);
                // Refused only if the last watcher went away.
                drop(self.events.send(Arc::new(event)));
            }
            if whole {
                return;
            }
        }
    }
}

/// Positions that were told already, near the point where reading what is there and being told of news meet.
#[derive(Default)]
pub(crate) struct Overlap(HashSet<i64>);

impl Overlap {
    /// Remembers a position that was read.
    pub(crate) fn remember(&mut self, position: i64, subscription_from: i64) {
        if position > subscription_from - BEHIND {
            self.0.insert(position);
        }
    }

    /// Tells whether a position that comes as news was read before.
    pub(crate) fn holds(&self, position: i64) -> bool {
        self.0.contains(&position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_are_left_out_are_asked_for_until_patience_ends() {
        let now = Instant::now();
        let mut seen = Seen::at_end(&[7, 8, 11], now);
        assert_eq!((seen.last, seen.missing()), (11, vec![9, 10]));
        seen.note(10, now);
        seen.note(14, now + PATIENCE / 2);
        assert_eq!((seen.last, seen.missing()), (14, vec![9, 12, 13]));
        seen.forget_the_undone(now + PATIENCE);
        assert_eq!(seen.missing(), [12, 13]);
        seen.note(14 + 10 * BEHIND, now);
        assert!(i64::try_from(seen.missing().len()).unwrap() <= BEHIND + 2, "a large gap is not remembered whole");
        assert_eq!(Seen::at_end(&[], now), Seen::default());
    }
}
