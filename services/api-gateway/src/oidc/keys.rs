//! The issuer's keys: discovered, fetched, kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use metrics::{counter, gauge};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_kit::words;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;

use super::{Issuer, Refusal};
use crate::config::is_protected;

/// Least time between two fetches that tokens with unknown keys cause: anyone can send such tokens.
const REST: Duration = Duration::from_secs(10);
/// Longest time for one answer of the issuer, and its most bytes.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 1024 * 1024;
/// Most keys that are kept.
const MAX_KEYS: usize = 100;

/// Why the keys could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("failed to set up the HTTP client for the issuer")]
    Client(#[source] reqwest::Error),
    #[error("failed to ask {url}")]
    Ask {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    #[error("{0} answered with status {1}")]
    Status(Url, u16),
    #[error("the answer of {0} has more than {MAX_ANSWER} bytes")]
    TooLong(Url),
    #[error("the answer of {url} is not understood")]
    Malformed {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
    #[error("{url} speaks for the issuer {told:?}")]
    OtherIssuer { url: Url, told: String },
    #[error("the issuer's keys are at {0}, which is not protected by TLS")]
    Unprotected(Url),
    #[error("{0} has no key for RS256, ES256 or EdDSA")]
    NoKeys(Url),
}

/// What OpenID Connect Discovery 1.0 tells of an issuer, as far as it matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

#[derive(Deserialize)]
struct KeyList {
    keys: Vec<Value>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys that are known, and how to fetch others.
pub(crate) struct Keys {
    http: reqwest::Client,
    issuer: String,
    discovery: Url,
    age: Duration,
    known: RwLock<Arc<Vec<Key>>>,
    /// When keys were last asked for; held while they are fetched, so that many askers cost one fetch.
    asked: Mutex<Option<Instant>>,
}

impl Keys {
    pub(super) fn new(issuer: &Issuer) -> Result<Self, FetchError> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT).build();
        let mut discovery = issuer.url.clone();
        discovery.set_path(&format!("{}/.well-known/openid-configuration", issuer.url.path().trim_end_matches('/')));
        Ok(Self {
            http: http.map_err(FetchError::Client)?,
            issuer: issuer.name().to_owned(),
            discovery,
            age: issuer.keys_age,
            known: RwLock::default(),
            asked: Mutex::default(),
        })
    }

    /// Fetches the keys now and every `age`, sooner while none are known; the last good ones stay when that fails. Never ends.
    pub(crate) async fn keep_fresh(&self) {
        let mut wait = Duration::from_secs(1);
        loop {
            {
                let mut asked = self.asked.lock().await;
                self.refresh().await;
                *asked = Some(Instant::now());
            }
            let known = !self.known().is_empty();
            tokio::time::sleep(if known { self.age } else { wait.min(self.age) }).await;
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    }

    /// Returns the key that a token names, for the algorithm that it names.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, Refusal> {
        let came = Instant::now();
        if let Some(key) = self.among_known(id, algorithm) {
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        let fresh = asked.is_some_and(|at| at >= came || at.elapsed() < REST);
        if !fresh {
            self.refresh().await;
            *asked = Some(Instant::now());
        }
        drop(asked);
        let unknown = if self.known().is_empty() {
            Refusal::Unknown("the issuer's keys are not known yet")
        } else {
            Refusal::Invalid("its key is not the issuer's")
        };
        self.among_known(id, algorithm).ok_or(unknown)
    }

    fn known(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks a key up; a token without a key's name is good for the only key of its algorithm.
    fn among_known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let known = self.known();
        let mut fitting = known.iter().filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then(|| first.key.clone())
    }

    async fn refresh(&self) {
        match self.fetch().await {
            Ok(keys) => {
                counter!("oidc_key_fetches_total", "outcome" => "fetched").increment(1);
                gauge!("oidc_keys").set(f64::from(u32::try_from(keys.len()).unwrap_or(u32::MAX)));
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                counter!("oidc_key_fetches_total", "outcome" => "failed").increment(1);
                tracing::warn!(error = words(&error), "the issuer's keys can't be fetched; those that are known stay");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let discovery: Discovery = self.get(&self.discovery).await?;
        if discovery.issuer != self.issuer {
            return Err(FetchError::OtherIssuer { url: self.discovery.clone(), told: discovery.issuer.chars().take(200).collect() });
        }
        if !is_protected(&discovery.jwks_uri) {
            return Err(FetchError::Unprotected(discovery.jwks_uri));
        }
        let list: KeyList = self.get(&discovery.jwks_uri).await?;
        let keys: Vec<Key> = list.keys.into_iter().filter_map(usable).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(FetchError::NoKeys(discovery.jwks_uri)) } else { Ok(keys) }
    }

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, FetchError> {
        let failed = |source: reqwest::Error| FetchError::Ask { url: url.clone(), source: source.without_url() };
        let mut response = self.http.get(url.clone()).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(url.clone(), response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            append(&mut body, &part).ok_or_else(|| FetchError::TooLong(url.clone()))?;
        }
        serde_json::from_slice(&body).map_err(|source| FetchError::Malformed { url: url.clone(), source })
    }
}

/// Adds a part of a body unless that would be too much.
fn append(body: &mut Vec<u8>, part: &Bytes) -> Option<()> {
    (body.len() + part.len() <= MAX_ANSWER).then(|| body.extend_from_slice(part))
}

/// Reads a key that is for signatures, and of an algorithm that is allowed; a set may hold others.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => (Algorithm::ES256, KeyAlgorithm::ES256),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|told| told != name) {
        return None;
    }
    Some(Key { key: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithm })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_key_set_holds_only_keys_for_signatures_are_taken(
            kind in prop_oneof![Just("RSA"), Just("EC"), Just("OKP"), Just("oct"), Just("")],
            curve in prop_oneof![Just("P-256"), Just("P-384"), Just("Ed25519"), Just("X25519"), Just("")],
            usage in prop_oneof![Just("sig"), Just("enc"), Just("")],
            (x, y, n) in ("[A-Za-z0-9_=-]{0,50}", "[A-Za-z0-9_-]{43}", "\\PC{0,20}"),
            other in any::<Option<i64>>(),
        ) {
            let value = json!({"kty": kind, "crv": curve, "use": usage, "x": x, "y": y, "n": n, "e": "AQAB", "k": x, "kid": other});
            if let Some(key) = usable(value) {
                prop_assert!(usage != "enc" && kind != "oct" && !kind.is_empty());
                prop_assert!(matches!(key.algorithm, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA));
            }
        }
    }

    #[test]
    fn only_keys_for_the_allowed_signatures_are_kept() {
        // RFC 8037, appendix A.2, and RFC 7517, appendix A.1.
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "e"});
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
        let with = |key: &Value, name: &str, value: &str| {
            let mut key = key.clone();
            key[name] = json!(value);
            key
        };
        for (value, expected) in [
            (ed.clone(), Some(Algorithm::EdDSA)),
            (ec.clone(), Some(Algorithm::ES256)),
            (with(&ec, "use", "sig"), Some(Algorithm::ES256)),
            (with(&ec, "use", "enc"), None),
            (with(&ec, "alg", "ES256"), Some(Algorithm::ES256)),
            (with(&ec, "alg", "HS256"), None),
            (with(&ec, "crv", "P-384"), None),
            (with(&ec, "kty", "future"), None),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), None),
            (json!({}), None),
            (json!("key"), None),
        ] {
            assert_eq!(usable(value.clone()).map(|key| key.algorithm), expected, "{value}");
        }
    }
}
