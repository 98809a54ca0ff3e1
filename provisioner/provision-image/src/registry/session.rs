//! One conversation with a registry: requests, repeats and signing in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{PushOptions, RegistryCredentials};
use crate::{ImageError, Reference};

const MAX_DETAIL: usize = 300;
/// Longest part of an answer that is read, in bytes: tokens and errors are far shorter, blobs are never asked for.
const MAX_ANSWER: usize = 1 << 20;

/// A request that can be sent more than once.
pub(super) struct Call<'a> {
    method: Method,
    url: Url,
    action: &'a str,
    pub(super) headers: HashMap<HeaderName, String>,
    pub(super) body: Option<Bytes>,
    signature: Signature,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, url: Url, action: &'a str) -> Self {
        Self { method, url, action, headers: HashMap::new(), body: None, signature: Signature::Session }
    }
}

/// What a request is authorised with.
enum Signature {
    /// What the registry has asked for, if the request goes to the registry itself: an upload may lead to a store of another owner.
    Session,
    /// This, or nothing.
    Own(Option<HeaderValue>),
}

/// What came back, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<RegistryError>,
}

#[derive(Deserialize)]
struct RegistryError {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

pub(super) struct Session<'a> {
    client: Client,
    base: Url,
    target: &'a Reference,
    options: &'a PushOptions,
    /// Value of the Authorization header, once the registry has asked for one.
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> Session<'a> {
    pub(super) fn open(target: &'a Reference, options: &'a PushOptions) -> Result<Self, ImageError> {
        let plain = options.insecure || target.is_loopback();
        let scheme = if plain { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/", target.registry, target.repository);
        let invalid = ImageError::InvalidReference { text: target.to_string(), reason: "it makes no URL" };
        let base = Url::parse(&text).map_err(|_| invalid)?;
        let mut builder = Client::builder().timeout(options.request_timeout).https_only(!plain);
        if target.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|source| unreachable(target, "set up a connection", 0, source))?;
        Ok(Self { client, base, target, options, authorization: Mutex::new(None) })
    }

    /// Returns the URL of `path` below the repository.
    pub(super) fn url(&self, path: &str) -> Result<Url, ImageError> {
        self.base
            .join(&format!("./{path}"))
            .map_err(|_| ImageError::InvalidReference { text: format!("{}/{path}", self.target), reason: "it makes no URL" })
    }

    /// Sends a request, signs in once if the registry asks for it, and repeats what a repeat can cure.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, ImageError> {
        let answer = self.repeat(&call).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.sign_in(&call, &answer).await? {
            return Ok(answer);
        }
        self.repeat(&call).await
    }

    async fn repeat(&self, call: &Call<'_>) -> Result<Answer, ImageError> {
        let mut attempt = 1;
        loop {
            let sent = self.send(call).await;
            match self.pause_after(&sent, attempt) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return sent.map_err(|source| self.unreachable(call.action, attempt, source)),
            }
            attempt += 1;
        }
    }

    /// Returns how long to wait before another attempt; none if it would be one too many, or can't help.
    pub(super) fn pause_after(&self, sent: &reqwest::Result<Answer>, attempt: u32) -> Option<Duration> {
        let asked = match sent {
            Ok(answer) if !is_passing(answer.status) => return None,
            Ok(answer) => retry_after(answer),
            Err(_) => None,
        };
        (attempt < self.options.attempts).then(|| self.pause(attempt, asked))
    }

    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.options.backoff.saturating_mul(2_u32.saturating_pow(attempt - 1));
        asked.unwrap_or(doubled).min(self.options.backoff_limit)
    }

    /// Sends a request one time.
    pub(super) async fn send(&self, call: &Call<'_>) -> reqwest::Result<Answer> {
        let mut request = self.client.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        if let Some(value) = self.authorization(call) {
            request = request.header(AUTHORIZATION, value);
        }
        read(request.send().await?).await
    }

    fn authorization(&self, call: &Call<'_>) -> Option<HeaderValue> {
        match &call.signature {
            Signature::Own(value) => value.clone(),
            Signature::Session if call.url.origin() == self.base.origin() => self.authorization.lock().ok()?.clone(),
            Signature::Session => None,
        }
    }

    /// Answers the registry's challenge; returns whether the request is worth another attempt.
    async fn sign_in(&self, call: &Call<'_>, answer: &Answer) -> Result<bool, ImageError> {
        let challenge = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some((scheme, parameters)) = challenge.and_then(|challenge| challenge.split_once(' ')) else {
            return Ok(false);
        };
        let authorization = match (scheme.to_ascii_lowercase().as_str(), &self.options.credentials) {
            ("basic", Some(credentials)) => basic(credentials),
            ("bearer", credentials) => self.token(call, parameters, credentials.as_ref()).await?,
            _ => None,
        };
        let Some(value) = authorization else { return Ok(false) };
        if let Ok(mut known) = self.authorization.lock() {
            *known = Some(value);
        }
        Ok(true)
    }

    /// Fetches a token from the place that the challenge names.
    async fn token(
        &self,
        call: &Call<'_>,
        challenge: &str,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Option<HeaderValue>, ImageError> {
        let parameters = challenge_parameters(challenge);
        let realm = parameters.get("realm").and_then(|realm| Url::parse(realm).ok());
        let mut realm = realm.ok_or_else(|| self.protocol(call.action, "its challenge names no place for a token"))?;
        if realm.scheme() != "https" && self.base.scheme() == "https" {
            return Err(self.protocol(call.action, "it asks for the credentials over plain HTTP"));
        }
        for name in ["service", "scope"] {
            if let Some(value) = parameters.get(name) {
                realm.query_pairs_mut().append_pair(name, value);
            }
        }
        let action = format!("sign in to {}", call.action);
        let mut request = Call::new(Method::GET, realm, &action);
        request.signature = Signature::Own(credentials.and_then(basic));
        let answer = self.repeat(&request).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&action, &answer));
        }
        let token: Token = serde_json::from_slice(&answer.body).map_err(|_| self.protocol(&action, "it sent no token"))?;
        Ok(secret_header(&Zeroizing::new(format!("Bearer {}", token.token))))
    }

    /// Makes the error for an answer that is not what was asked for.
    pub(super) fn refused(&self, action: &str, answer: &Answer) -> ImageError {
        let errors = serde_json::from_slice::<Errors>(&answer.body).map(|errors| errors.errors).unwrap_or_default();
        let texts: Vec<String> = errors.iter().map(|error| format!("{} {}", error.code, error.message).trim().to_owned()).collect();
        let detail = texts.join(", ").chars().filter(|character| !character.is_control()).take(MAX_DETAIL).collect::<String>();
        ImageError::Refused {
            registry: self.target.registry.clone(),
            action: action.to_owned(),
            status: answer.status.as_u16(),
            detail: if detail.is_empty() { String::new() } else { format!(" ({detail})") },
        }
    }

    pub(super) fn unreachable(&self, action: &str, attempts: u32, source: reqwest::Error) -> ImageError {
        unreachable(self.target, action, attempts, source)
    }

    pub(super) fn protocol(&self, action: &str, reason: &str) -> ImageError {
        ImageError::Protocol { registry: self.target.registry.clone(), action: action.to_owned(), reason: reason.to_owned() }
    }
}

/// Makes the error for a request without an answer; not with its URL, which may hold the right to an upload.
fn unreachable(target: &Reference, action: &str, attempts: u32, source: reqwest::Error) -> ImageError {
    ImageError::Unreachable { registry: target.registry.clone(), action: action.to_owned(), attempts, source: source.without_url() }
}

async fn read(mut response: Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
    }
    Ok(Answer { status, headers, body: body.into() })
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn basic(credentials: &RegistryCredentials) -> Option<HeaderValue> {
    use base64::Engine as _;
    let pair = Zeroizing::new(format!("{}:{}", credentials.user, credentials.password.as_str()));
    secret_header(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes())))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads `name="value"` pairs; a comma inside the quotes belongs to the value.
fn challenge_parameters(text: &str) -> HashMap<String, String> {
    let mut parameters = HashMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_owned());
        rest = tail;
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_keep_commas_inside_quotes() {
        let text = r#"realm="https://auth.example.com/token",service=reg, scope="repository:x:pull,push""#;
        let parameters = challenge_parameters(text);
        for (name, value) in [("realm", "https://auth.example.com/token"), ("service", "reg"), ("scope", "repository:x:pull,push")] {
            assert_eq!(parameters.get(name).map(String::as_str), Some(value));
        }
        assert!(challenge_parameters("realm").is_empty());
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        let target: Reference = "127.0.0.1:5000/x".parse().unwrap();
        let options =
            PushOptions { backoff: Duration::from_millis(100), backoff_limit: Duration::from_millis(350), ..PushOptions::default() };
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let session = Session::open(&target, &options).unwrap();
        let pauses: Vec<u128> = (1..=4).map(|attempt| session.pause(attempt, None).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 350, 350]);
        assert_eq!(session.pause(1, Some(Duration::from_secs(3600))), options.backoff_limit);
    }
}
