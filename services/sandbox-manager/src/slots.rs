//! How many sandboxes run, and which.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::gauge;
use tokio::sync::watch;
use uuid::Uuid;

/// Places for sandboxes.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    most: usize,
    taken: Arc<watch::Sender<BTreeMap<usize, Uuid>>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// All are taken.
    Full,
    /// A sandbox of this id runs.
    Runs,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    number: usize,
    slots: Slots,
}

impl Slots {
    /// Makes `most` places.
    pub(crate) fn new(most: usize) -> Self {
        gauge!("sandbox_active").set(0.0);
        Self { most, taken: Arc::default() }
    }

    /// Takes a place for a sandbox.
    ///
    /// # Errors
    /// [`NoSlot`] if there is none for it.
    pub(crate) fn take(&self, id: Uuid) -> Result<Slot, NoSlot> {
        let mut result = Err(NoSlot::Full);
        self.taken.send_modify(|taken| {
            let number = (0..self.most).find(|number| !taken.contains_key(number));
            result = match number {
                _ if taken.values().any(|other| *other == id) => Err(NoSlot::Runs),
                Some(number) => {
                    taken.insert(number, id);
                    Ok(number)
                }
                None => Err(NoSlot::Full),
            };
        });
        let number = result?;
        gauge!("sandbox_active").increment(1.0);
        Ok(Slot { number, slots: self.clone() })
    }

    /// Waits until no place is taken.
    pub(crate) async fn idle(&self) {
        // Fails only without a sender, which this one holds.
        drop(self.taken.subscribe().wait_for(BTreeMap::is_empty).await);
    }
}

impl Slot {
    /// Returns the number of the place, from 0; no two sandboxes that run have the same.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.send_modify(|taken| {
            taken.remove(&self.number);
        });
        gauge!("sandbox_active").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_sandboxs_until_it_is_dropped() {
        let slots = Slots::new(2);
        let (one, two, three) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let first = slots.take(one).unwrap();
        assert_eq!(slots.take(one).unwrap_err(), NoSlot::Runs);
        let second = slots.take(two).unwrap();
        assert_eq!((first.number(), second.number()), (0, 1));
        assert_eq!(slots.take(three).unwrap_err(), NoSlot::Full);
        drop(first);
        assert_eq!(slots.take(three).unwrap().number(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_the_last_one_waits_for_it() {
        let slots = Slots::new(1);
        slots.idle().await;
        let slot = slots.take(Uuid::from_u128(1)).unwrap();
        let waits = slots.clone();
        let waiting = tokio::spawn(async move { waits.idle().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        waiting.await.unwrap();
    }
}
