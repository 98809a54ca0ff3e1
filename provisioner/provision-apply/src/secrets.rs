//! Secret values at the edge: looked up just before a write, turned into fingerprints as soon as they are read back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provision_model::{Manifest, SecretRef};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Redactor, SecretError, SecretStore, SecretValue};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const FIELDS: [&str; 2] = ["data", "stringData"];

/// Turns secret values into fingerprints: `fp:` and 8 hex digits of a salted SHA-256.
///
/// Equal values give equal fingerprints within one release of one cluster and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprints {
    salt: String,
}

impl Fingerprints {
    /// Uses a salt.
    pub fn new(salt: impl Into<String>) -> Self {
        Self { salt: salt.into() }
    }

    /// Returns the salt of a release that has none recorded; the same at every call, so that a plan and its apply agree.
    pub fn first_salt(cluster_uid: &str, release: &str) -> String {
        let digest = Sha256::digest(format!("provision fingerprint {} {cluster_uid} {release}", cluster_uid.len()));
        hex::encode(&digest[..16])
    }

    /// Returns the salt.
    pub fn salt(&self) -> &str {
        &self.salt
    }

    /// Computes the fingerprint of a value.
    pub fn of(&self, value: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        hash.update([0]);
        hash.update(value);
        format!("fp:{}", hex::encode(&hash.finalize()[..4]))
    }

    /// Returns a live object without secret values: those of a Secret become fingerprints. `redactor` learns the values.
    #[must_use]
    pub fn mask(&self, live: &Manifest, redactor: &Redactor) -> Manifest {
        if !is_secret(live) {
            return live.clone();
        }
        let mut masked = live.clone();
        for field in FIELDS {
            if let Some(entries) = live.value().get(field).and_then(Value::as_object) {
                let entries = entries.iter().map(|(key, value)| (key.clone(), self.masked(field, value, redactor))).collect();
                masked = masked.with_field(field, Some(Value::Object(entries)));
            }
        }
        match live.annotation(LAST_APPLIED) {
            Some(text) => masked.with_annotations(&[(LAST_APPLIED, &self.of(text.as_bytes()))]),
            None => masked,
        }
    }

    fn masked(&self, field: &str, value: &Value, redactor: &Redactor) -> Value {
        let text = value.as_str().unwrap_or_default();
        let bytes = if field == "data" { STANDARD.decode(text).ok() } else { None };
        let bytes = bytes.unwrap_or_else(|| text.as_bytes().to_vec());
        if let Ok(plain) = std::str::from_utf8(&bytes) {
            redactor.learn(plain);
        }
        Value::from(self.of(&bytes))
    }
}

/// Tells whether an object is a core Secret.
pub(crate) fn is_secret(manifest: &Manifest) -> bool {
    manifest.kind() == "Secret" && manifest.api_version() == "v1"
}

/// Puts the values in place of the references in a Secret's data. `redactor` learns the values.
///
/// Other objects are returned as they are; a reference elsewhere stays a reference and no value leaves the store for it.
///
/// # Errors
/// [`SecretError`] when a value can't be had.
pub(crate) async fn resolve<S: SecretStore>(manifest: &Manifest, store: &S, redactor: &Redactor) -> Result<Manifest, SecretError> {
    if !is_secret(manifest) {
        return Ok(manifest.clone());
    }
    let mut resolved = manifest.clone();
    for field in FIELDS {
        let Some(entries) = manifest.value().get(field).and_then(Value::as_object) else { continue };
        let mut values = Map::new();
        for (key, value) in entries {
            let value = match SecretRef::from_value(value) {
                Some(reference) => {
                    let secret = read(store, &reference, redactor).await?;
                    let text = secret.expose();
                    Value::from(if field == "data" { STANDARD.encode(text) } else { text.to_owned() })
                }
                None => value.clone(),
            };
            values.insert(key.clone(), value);
        }
        resolved = resolved.with_field(field, Some(Value::Object(values)));
    }
    Ok(resolved)
}

/// Reads one value; `redactor` learns it.
pub(crate) async fn read<S: SecretStore>(store: &S, reference: &SecretRef, redactor: &Redactor) -> Result<SecretValue, SecretError> {
    let secret = store.read(reference).await?;
    redactor.learn(secret.expose());
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySecrets;
    use serde_json::json;

    #[test]
    fn a_live_secret_keeps_no_value() {
        let value = "s3cr3t-canary";
        let encoded = STANDARD.encode(value);
        let live = Manifest::try_from(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "x", "annotations": {LAST_APPLIED: format!("{{\"data\":{{\"a\":\"{encoded}\"}}}}")}},
            "data": {"a": encoded}
        }))
        .unwrap();
        let fingerprints = Fingerprints::new("salt");
        let masked = fingerprints.mask(&live, &Redactor::default());
        assert_eq!(masked.text("/data/a"), Some(fingerprints.of(value.as_bytes()).as_str()));
        let text = masked.value().to_string();
        assert!(!text.contains(value) && !text.contains(&encoded), "{text}");
    }

    #[test]
    fn fingerprints_differ_by_value_and_salt() {
        let one = Fingerprints::new(Fingerprints::first_salt("uid", "dev"));
        let other = Fingerprints::new(Fingerprints::first_salt("uid", "prod"));
        assert_eq!(one.of(b"a"), one.of(b"a"));
        assert_ne!(one.of(b"a"), one.of(b"b"));
        assert_ne!(one.of(b"a"), other.of(b"a"));
        assert_eq!(one.of(b"a").len(), 11);
    }

    #[tokio::test]
    async fn references_become_values_only_in_the_data_of_a_secret() {
        let secrets = MemorySecrets::default();
        secrets.put("db", "url", "postgres://x");
        let reference = SecretRef { path: "db".into(), property: "url".into(), version: None }.to_value();
        let object = |kind: &str| {
            Manifest::try_from(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "data": {"url": reference}})).unwrap()
        };
        let redactor = Redactor::default();
        let secret = resolve(&object("Secret"), &secrets, &redactor).await.unwrap();
        assert_eq!(secret.text("/data/url"), Some("cG9zdGdyZXM6Ly94"));
        assert_eq!(redactor.clean("cannot dial postgres://x!"), "cannot dial (secret)!");
        let other = resolve(&object("ConfigMap"), &secrets, &redactor).await.unwrap();
        assert_eq!(other.value(), object("ConfigMap").value());
    }
}
