//! A double of an OpenID issuer, and tokens that it signed, or that somebody else did.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::double::serve;

pub(crate) const AUDIENCE: &str = "feature-platform";

const PRIVATE_ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A key of an issuer.
pub(crate) struct Key {
    pub(crate) id: String,
    algorithm: Algorithm,
    secret: EncodingKey,
}

impl Key {
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let pair = |kind| rcgen::KeyPair::generate_for(kind).unwrap().serialize_der();
        let secret = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&pair(&rcgen::PKCS_ECDSA_P256_SHA256)),
            // The form without the public key (RFC 8410, section 7) is the one that is taken; the secret is at a fixed place.
            Algorithm::EdDSA => EncodingKey::from_ed_der(&[PRIVATE_ED25519, &pair(&rcgen::PKCS_ED25519)[16..48]].concat()),
            // PKCS#1 inside of PKCS#8, behind a head whose size is fixed for 2048 bits.
            _ => EncodingKey::from_rsa_der(&pair(&rcgen::PKCS_RSA_SHA256)[26..]),
        };
        Self { id: id.to_owned(), algorithm, secret }
    }

    /// Returns the public half, as the issuer publishes it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.secret, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// Signs claims, under this key's name.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.secret).unwrap()
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.secret).unwrap()
    }
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Published>,
}

#[derive(Default)]
struct Published {
    url: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    away: Mutex<bool>,
    fetches: Mutex<usize>,
}

impl Issuer {
    pub(crate) async fn start(keys: &[&Key]) -> Self {
        let state = Arc::new(Published::default());
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(published))
            .with_state(Arc::clone(&state));
        let url = serve(routes).await;
        state.url.lock().unwrap().clone_from(&url);
        let issuer = Self { url, state };
        issuer.publish(keys);
        issuer
    }

    pub(crate) fn publish(&self, keys: &[&Key]) {
        *self.state.keys.lock().unwrap() = keys.iter().map(|key| key.public()).collect();
    }

    pub(crate) fn go_away(&self, away: bool) {
        *self.state.away.lock().unwrap() = away;
    }

    pub(crate) fn fetches(&self) -> usize {
        *self.state.fetches.lock().unwrap()
    }

    /// Makes claims that are good for five minutes.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        json!({"iss": self.url, "aud": AUDIENCE, "sub": subject, "exp": seconds() + 300, "iat": seconds()})
    }
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn discovery(State(state): State<Arc<Published>>) -> Response {
    let url = state.url.lock().unwrap().clone();
    Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": "https://elsewhere.example"})).into_response()
}

async fn published(State(state): State<Arc<Published>>) -> Response {
    *state.fetches.lock().unwrap() += 1;
    if *state.away.lock().unwrap() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    // Others than ours live in such sets too.
    let mut keys = vec![json!({"kty": "new-kind"}), json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"})];
    keys.extend(state.keys.lock().unwrap().iter().cloned());
    Json(json!({"keys": keys})).into_response()
}
