//! The journal of an unfinished generation, kept in the head of the record.

use std::sync::Arc;

use futures::future::BoxFuture;
use provision_saga::{JournalError, JournalStore, Record};
use tokio::sync::Mutex;

use super::{GenerationState, HeadState, RecordStore};
use crate::Cluster;

/// Appends to the newest generation of a head, which must be pending. Each record is one write of the head.
pub(crate) struct HeadJournal<C> {
    pub(crate) store: RecordStore<C>,
    pub(crate) state: Arc<Mutex<HeadState>>,
}

impl<C: Cluster> JournalStore for HeadJournal<C> {
    fn append(&self, record: Record) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            let mut next = state.clone();
            if let Some(generation) = next.head.generations.last_mut().filter(|newest| newest.state == GenerationState::Pending) {
                generation.journal.push(record);
            }
            self.store.write_head(&mut next).await.map_err(|source| JournalError::Store { action: "write", source: Box::new(source) })?;
            *state = next;
            Ok(())
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        Box::pin(async move {
            let state = self.state.lock().await;
            Ok(state.head.newest().map(|newest| newest.journal.clone()).unwrap_or_default())
        })
    }
}
