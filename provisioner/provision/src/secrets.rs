use std::collections::BTreeMap;

use provision_apply::{SecretError, SecretStore, SecretValue};
use provision_config::settings::{LocalSecret, SecretEncoding, SecretMode};
use provision_config::{Composed, Environment};
use provision_model::SecretRef;
use provision_secrets::{Encoding, ExternalSecrets, LocalSecrets, LocalSource, Part};

use crate::args::GlobalArgs;
use crate::context;
use crate::error::CliError;

/// The secret store that the environment asks for.
pub(crate) enum Secrets {
    Local(LocalSecrets),
    External(ExternalSecrets),
}

impl Secrets {
    /// Chooses the store; nothing is read or written yet.
    pub(crate) fn open(global: &GlobalArgs, environment: &Environment) -> Result<Self, CliError> {
        if environment.settings.secrets.mode == SecretMode::External {
            return Ok(Self::External(ExternalSecrets));
        }
        let mut sources = BTreeMap::new();
        let mut provided = BTreeMap::new();
        for (_, reference, local) in environment.secret_items() {
            let Some(local) = local else { continue };
            let source = match local {
                LocalSecret::Environment { variable } => {
                    if let Ok(value) = std::env::var(&variable) {
                        provided.insert(variable.clone(), SecretValue::new(value));
                    }
                    LocalSource::Provided { variable }
                }
                LocalSecret::Composed { text } => {
                    LocalSource::Composed { parts: environment.composed(&text).into_iter().map(part).collect() }
                }
                LocalSecret::Generated { bytes, encoding } => {
                    let encoding = match encoding {
                        SecretEncoding::Base64 => Encoding::Base64,
                        SecretEncoding::Hex => Encoding::Hex,
                    };
                    LocalSource::Generated { bytes: bytes as usize, encoding }
                }
            };
            sources.insert((reference.path, reference.property), source);
        }
        let folder = context::state_folder(global)?.join("secrets");
        Ok(Self::Local(LocalSecrets::new(folder, environment.name.as_str(), sources, provided)))
    }
}

fn part(part: Composed) -> Part {
    match part {
        Composed::Text(text) => Part::Text(text),
        Composed::Value(reference) => Part::Value(reference),
    }
}

impl SecretStore for Secrets {
    async fn read(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        match self {
            Self::Local(store) => store.read(reference).await,
            Self::External(store) => store.read(reference).await,
        }
    }
}
