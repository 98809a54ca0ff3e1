//! Faults on purpose: every saga is tested by failing, repeating and crashing at each of its steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use crate::{JournalError, JournalStore, Record, Saga, StepError, StepName};

/// Makes the named steps give up before they have any effect.
#[must_use]
pub fn fail_steps(saga: &Saga, names: &BTreeSet<StepName>) -> Saga {
    rewrite(saga, names, |act, name| {
        drop(act);
        Arc::new(move |_| {
            let error = StepError::new(format!("injected failure of `{name}`"));
            Box::pin(async move { Err(error) })
        })
    })
}

/// Makes the named steps run twice in a row, as after a crash between effect and record.
#[must_use]
pub fn repeat_steps(saga: &Saga, names: &BTreeSet<StepName>) -> Saga {
    rewrite(saga, names, |act, _| {
        Arc::new(move |context| {
            let act = act.clone();
            Box::pin(async move {
                act(context.clone()).await?;
                act(context).await
            })
        })
    })
}

fn rewrite(saga: &Saga, names: &BTreeSet<StepName>, change: impl Fn(crate::saga::Act, StepName) -> crate::saga::Act) -> Saga {
    let mut saga = saga.clone();
    for step in &mut saga.steps {
        if names.contains(&step.name) {
            step.act = change(step.act.clone(), step.name.clone());
        }
    }
    saga
}

/// A journal whose writer dies after `records` more records: every later write is refused, as if the process were gone.
pub struct CrashAfter<S> {
    store: S,
    left: AtomicUsize,
}

impl<S: JournalStore> CrashAfter<S> {
    /// Wraps a store.
    pub fn new(store: S, records: usize) -> Self {
        Self { store, left: AtomicUsize::new(records) }
    }
}

/// The injected crash.
#[derive(Debug, thiserror::Error)]
#[error("injected crash")]
pub struct Crash;

impl<S: JournalStore> JournalStore for CrashAfter<S> {
    fn append(&self, record: Record) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_err() {
                return Err(JournalError::Store { action: "write", source: Box::new(Crash) });
            }
            self.store.append(record).await
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        self.store.load()
    }
}
