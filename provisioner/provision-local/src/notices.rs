//! What is not as the manifests want it, for people: said as long as it is so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notices by what they are about; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<BTreeMap<String, String>>>);

impl Notices {
    /// Says something about a subject, in place of what was said of it before.
    pub(crate) fn say(&self, subject: &str, text: &str) {
        let before = self.lock().insert(subject.to_owned(), text.to_owned());
        if before.as_deref() != Some(text) {
            tracing::warn!("{text}");
        }
    }

    /// Says nothing of a subject any more.
    pub(crate) fn withdraw(&self, subject: &str) {
        self.lock().remove(subject);
    }

    /// Lists what is said now, in the order of the subjects.
    pub(crate) fn list(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
