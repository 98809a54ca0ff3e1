//! A bus in memory: a log that can refuse events, and be lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use feature_store::StoredEvent;
use service_bus::{BusError, Placed};
use uuid::Uuid;

use super::Bus;

const PARTITIONS: i32 = 4;

/// A bus in memory; clones are the same bus.
#[derive(Clone, Default)]
pub(crate) struct MemoryBus(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    partitions: BTreeMap<i32, Vec<(Uuid, i32)>>,
    published: usize,
    /// Every how many events one is refused, with all after it in its batch.
    refuse_each: Option<usize>,
}

impl MemoryBus {
    /// Returns every feature's sequences in the order of the log.
    pub(crate) fn sequences(&self) -> BTreeMap<Uuid, Vec<i32>> {
        let mut sequences: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (feature, sequence) in self.log().partitions.values().flatten() {
            sequences.entry(*feature).or_default().push(*sequence);
        }
        sequences
    }

    /// Forgets the log, as a broker does that comes back without its disk.
    pub(crate) fn lose_log(&self) {
        self.log().partitions = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    }

    pub(crate) fn refuse_each(&self, each: usize) {
        self.log().refuse_each = Some(each);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for MemoryBus {
    async fn publish(&self, events: &[StoredEvent]) -> Vec<Result<Placed, BusError>> {
        tokio::task::yield_now().await;
        let mut log = self.log();
        let mut refused = false;
        let place = |event: &StoredEvent| {
            log.published += 1;
            refused |= log.refuse_each.is_some_and(|each| log.published.is_multiple_of(each));
            if refused {
                return Err(BusError::Ended("log"));
            }
            let partition = i32::from(event.feature.as_bytes()[15] % 4);
            let entries = log.partitions.entry(partition).or_default();
            entries.push((event.feature, event.event.sequence));
            Ok(Placed { partition, offset: i64::try_from(entries.len()).unwrap_or_default() - 1 })
        };
        events.iter().map(place).collect()
    }

    async fn ends(&self) -> Result<BTreeMap<i32, i64>, BusError> {
        let length = |(partition, entries): (&i32, &Vec<_>)| (*partition, i64::try_from(entries.len()).unwrap_or_default());
        Ok(self.log().partitions.iter().map(length).collect())
    }
}
