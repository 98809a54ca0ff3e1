use provision_apply::{SecretError, SecretStore, SecretValue};
use provision_model::SecretRef;

/// The store of environments whose values live elsewhere (External Secrets): it has none to give.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExternalSecrets;

impl SecretStore for ExternalSecrets {
    async fn read(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        Err(SecretError::Missing {
            path: reference.path.clone(),
            property: reference.property.clone(),
            hint: "the environment's secrets are external: render an ExternalSecret for it, or set `secrets.mode: local`".to_owned(),
        })
    }
}
