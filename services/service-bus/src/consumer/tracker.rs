//! Which records of which partitions are being worked on, and what may be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One stay of a partition with this process; a later stay has another number.
pub(crate) type Stay = u64;

/// What is known of the partitions that this process has.
#[derive(Default)]
pub(crate) struct Tracker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<i32, Partition>,
    stays: Stay,
}

#[derive(Debug, Default)]
struct Partition {
    stay: Stay,
    leaving: bool,
    /// Offsets that were received and are not done.
    open: BTreeSet<i64>,
    /// One past the newest offset that was received.
    next: Option<i64>,
    /// What was last returned to be committed.
    stored: Option<i64>,
    running: usize,
}

impl Partition {
    /// Returns the offset before which all is done.
    fn low(&self) -> Option<i64> {
        self.open.first().copied().or(self.next)
    }
}

impl Tracker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes partitions in.
    pub(crate) fn assign(&self, partitions: &[i32]) {
        let mut state = self.lock();
        for partition in partitions {
            state.stays += 1;
            let fresh = Partition { stay: state.stays, ..Partition::default() };
            state.partitions.insert(*partition, fresh);
        }
    }

    /// Notes a record; returns the stay of its partition, or nothing if the partition is not here or the record was received already.
    pub(crate) fn receive(&self, partition: i32, offset: i64) -> Option<Stay> {
        let mut state = self.lock();
        let partition = state.partitions.get_mut(&partition)?;
        // After a pause the client may fetch from where the application was, which is not where we are.
        if partition.leaving || partition.next.is_some_and(|next| offset < next) {
            return None;
        }
        partition.open.insert(offset);
        partition.next = Some(offset + 1);
        Some(partition.stay)
    }

    /// Begins work on a record; false if its partition has left or is about to.
    pub(crate) fn begin(&self, partition: i32, stay: Stay) -> bool {
        let mut state = self.lock();
        let here = state.partitions.get_mut(&partition).filter(|here| here.stay == stay && !here.leaving);
        here.map(|here| here.running += 1).is_some()
    }

    /// Ends work on a record, `done` or to be taken up later.
    pub(crate) fn end(&self, partition: i32, stay: Stay, offset: i64, done: bool) {
        let mut state = self.lock();
        if let Some(here) = state.partitions.get_mut(&partition).filter(|here| here.stay == stay) {
            here.running -= 1;
            if done {
                here.open.remove(&offset);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Returns how many records are received and not done.
    pub(crate) fn open(&self) -> usize {
        self.lock().partitions.values().map(|partition| partition.open.len()).sum()
    }

    /// Returns the partitions that are here.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.lock().partitions.keys().copied().collect()
    }

    /// Returns for each partition whose offset moved since the last call the offset that may be committed.
    pub(crate) fn take_moved(&self) -> Vec<(i32, i64)> {
        let mut state = self.lock();
        let moved = |(number, partition): (&i32, &mut Partition)| {
            let low = partition.low().filter(|low| partition.stored != Some(*low))?;
            // Where it began is what is committed already.
            let first = partition.stored.is_none() && partition.open.first() == Some(&low);
            partition.stored = Some(low);
            (!first).then_some((*number, low))
        };
        state.partitions.iter_mut().filter_map(moved).collect()
    }

    /// Lets nothing begin on `partitions` any more, and waits until what runs on them has ended; tells whether it did in time.
    pub(crate) fn quiesce(&self, partitions: &[i32], limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        for partition in partitions {
            if let Some(here) = state.partitions.get_mut(partition) {
                here.leaving = true;
            }
        }
        loop {
            let running = partitions.iter().filter_map(|partition| state.partitions.get(partition)).any(|here| here.running > 0);
            let left = deadline.saturating_duration_since(Instant::now());
            if !running || left.is_zero() {
                return !running;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Forgets partitions.
    pub(crate) fn revoke(&self, partitions: &[i32]) {
        let mut state = self.lock();
        for partition in partitions {
            state.partitions.remove(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_committed_once_all_before_it_are_done() {
        let tracker = Tracker::default();
        tracker.assign(&[0]);
        let stay = tracker.receive(0, 7).unwrap();
        assert_eq!(tracker.take_moved(), [], "nothing is done");
        for offset in 8..10 {
            tracker.receive(0, offset).unwrap();
        }
        for (offset, moved) in [(8, None), (7, Some((0, 9))), (9, Some((0, 10)))] {
            assert!(tracker.begin(0, stay));
            tracker.end(0, stay, offset, true);
            assert_eq!(tracker.take_moved(), Vec::from_iter(moved), "after {offset}");
        }
        assert!(tracker.begin(0, stay));
        tracker.receive(0, 10).unwrap();
        tracker.end(0, stay, 10, false);
        assert_eq!((tracker.take_moved(), tracker.open()), (vec![], 1), "what is for later is not done");
    }

    #[test]
    fn what_was_received_before_is_not_given_again() {
        let tracker = Tracker::default();
        tracker.assign(&[0]);
        tracker.receive(0, 3).unwrap();
        assert_eq!(tracker.receive(0, 3), None);
        assert_eq!(tracker.receive(1, 3), None, "a partition that is not here");
    }

    #[test]
    fn work_of_an_earlier_stay_moves_nothing() {
        let tracker = Tracker::default();
        tracker.assign(&[0]);
        let first = tracker.receive(0, 5).unwrap();
        assert!(tracker.begin(0, first));
        tracker.revoke(&[0]);
        tracker.assign(&[0]);
        let second = tracker.receive(0, 5).unwrap();
        tracker.end(0, first, 5, true);
        assert_eq!((tracker.take_moved(), tracker.open()), (vec![], 1));
        assert!(!tracker.begin(0, first));
        assert!(tracker.begin(0, second));
    }

    #[test]
    fn a_partition_that_leaves_waits_for_what_runs_and_begins_nothing() {
        let tracker = Tracker::default();
        tracker.assign(&[0]);
        let stay = tracker.receive(0, 5).unwrap();
        assert!(tracker.begin(0, stay));
        assert!(!tracker.quiesce(&[0], Duration::from_millis(10)), "it still runs");
        assert!(!tracker.begin(0, stay));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| tracker.quiesce(&[0], Duration::from_secs(20)));
            tracker.end(0, stay, 5, true);
            assert!(waiting.join().unwrap());
        });
        assert_eq!(tracker.take_moved(), [(0, 6)]);
    }
}
