use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Event, IllegalEvent, StepError, StepName, StepState};

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Which step.
    pub step: StepName,
    /// What happened to it.
    #[serde(flatten)]
    pub event: Event,
}

/// Why a journal can't be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The store refused or can't be reached.
    #[error("failed to {action} the journal")]
    Store {
        /// `read` or `write`.
        action: &'static str,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The records make no sense.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
}

/// Where a journal is kept. A record that was appended survives a crash of the writer.
pub trait JournalStore: Send + Sync {
    /// Adds one record durably.
    ///
    /// # Errors
    /// [`JournalError::Store`]; the record may or may not have been added.
    fn append(&self, record: Record) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Reads all records, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, JournalError>>;
}

/// A journal in memory; clones share the records, so it survives a simulated crash.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<Record>>>);

impl MemoryJournal {
    /// Returns a copy of the records.
    pub fn records(&self) -> Vec<Record> {
        self.0.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |records| records.clone())
    }
}

impl JournalStore for MemoryJournal {
    fn append(&self, record: Record) -> BoxFuture<'_, Result<(), JournalError>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(record);
        Box::pin(async { Ok(()) })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        Box::pin(async { Ok(self.records()) })
    }
}

/// The state of every step, replayed from a store and kept with it.
///
/// Invariant: the states in memory are those that a replay of the store gives.
pub struct Journal<'s> {
    store: &'s dyn JournalStore,
    states: BTreeMap<StepName, StepState>,
    failures: Vec<(StepName, StepError)>,
}

impl<'s> Journal<'s> {
    /// Replays a store.
    ///
    /// # Errors
    /// [`JournalError::Store`] when it can't be read, [`JournalError::Illegal`] when its records make no sense.
    pub async fn open(store: &'s dyn JournalStore) -> Result<Self, JournalError> {
        let mut states: BTreeMap<StepName, StepState> = BTreeMap::new();
        let mut failures = Vec::new();
        for record in store.load().await? {
            let state = states.entry(record.step.clone()).or_default();
            *state = state.next(&record.step, &record.event)?;
            match record.event {
                Event::Started => failures.retain(|(step, _)| *step != record.step),
                Event::Failed { error } => failures.push((record.step, error)),
                Event::Done { .. } | Event::UndoStarted | Event::Undone | Event::UndoFailed { .. } => {}
            }
        }
        Ok(Self { store, states, failures })
    }

    /// Returns the state of a step.
    pub fn state(&self, step: &StepName) -> &StepState {
        self.states.get(step).unwrap_or(&StepState::Pending)
    }

    /// Tells whether anything was, or is being, taken back: the saga only unwinds from then on.
    pub fn is_unwinding(&self) -> bool {
        self.states.values().any(StepState::is_undo)
    }

    /// Lists the steps that had given up when the journal was opened, in the order in which they did.
    pub fn failures(&self) -> &[(StepName, StepError)] {
        &self.failures
    }

    /// Records an event durably, then takes it over.
    ///
    /// # Errors
    /// [`JournalError`]; nothing is taken over then.
    pub async fn record(&mut self, step: &StepName, event: Event) -> Result<(), JournalError> {
        let next = self.state(step).next(step, &event)?;
        self.store.append(Record { step: step.clone(), event }).await?;
        self.states.insert(step.clone(), next);
        Ok(())
    }
}
