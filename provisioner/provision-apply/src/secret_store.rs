use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use provision_model::SecretRef;
use thiserror::Error;

/// A secret value. It can't be printed or serialised; whoever needs the text says so with [`SecretValue::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Takes over a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// Why a secret value can't be had. No variant holds a value.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The store has no such value and can't make one.
    #[error("the secret store has no `{property}` under `{path}`: {hint}")]
    Missing {
        /// Path.
        path: String,
        /// Property.
        property: String,
        /// How to provide it.
        hint: String,
    },
    /// The store can't be read or written.
    #[error("failed to {action} the secret store `{store}`")]
    Store {
        /// `read`, `write`, `unlock`.
        action: &'static str,
        /// Which store.
        store: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where secret values come from at the moment they are written to a Secret.
pub trait SecretStore: Send + Sync + 'static {
    /// Reads one value; a store that generates values makes it on first use and keeps it.
    ///
    /// # Errors
    /// [`SecretError`].
    fn read(&self, reference: &SecretRef) -> impl Future<Output = Result<SecretValue, SecretError>> + Send;
}

/// Secret values in memory; clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemorySecrets(Arc<Mutex<BTreeMap<(String, String), SecretValue>>>);

impl MemorySecrets {
    /// Puts a value.
    pub fn put(&self, path: &str, property: &str, value: &str) {
        let mut values = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        values.insert((path.to_owned(), property.to_owned()), SecretValue::new(value.to_owned()));
    }
}

impl SecretStore for MemorySecrets {
    async fn read(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let values = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        values.get(&(reference.path.clone(), reference.property.clone())).cloned().ok_or_else(|| SecretError::Missing {
            path: reference.path.clone(),
            property: reference.property.clone(),
            hint: "put it before the run".to_owned(),
        })
    }
}
