//! Requests to the provider: one question, one answer, what went wrong told apart.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use service_kit::{BoxError, Secret, Upstream};
use thiserror::Error;

use crate::provider::{self, Answer, Complaint, Provider, Question};

/// Most bytes of an answer: far above the longest that a model gives.
const MOST_BYTES: usize = 8 << 20;
/// Most characters of a provider's words that are repeated.
const SHOWN: usize = 300;
/// Header under which both providers note a client's own id.
const STEP_ID: &str = "x-client-request-id";

/// Where the provider is and how to be let in.
pub(crate) struct Endpoint {
    /// Kind of provider.
    pub(crate) provider: &'static Provider,
    /// Where it is, if not where its maker has it.
    pub(crate) url: Option<Upstream>,
    /// Key.
    pub(crate) key: Option<Secret<String>>,
    /// Longest time for one request.
    pub(crate) limit: Duration,
}

/// Asks the provider.
pub(crate) struct Client {
    endpoint: Endpoint,
    url: String,
    http: reqwest::Client,
}

/// Why there is no answer; never shows the key.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("rate limit: the provider takes no more requests for now{0}")]
    RateLimit(Words, Option<Duration>),
    #[error("the provider failed with status {0}{1}")]
    Provider(u16, Words, Option<Duration>),
    #[error("the provider gave no answer within {} s (LLM_REQUEST_TIMEOUT_SECONDS)", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the call's {} s ended (LLM_TIMEOUT_SECONDS)", .0.as_secs_f64())]
    Late(Duration),
    #[error("the provider can't be reached, or broke off")]
    Broken(#[source] reqwest::Error),
    #[error("the provider does not accept the key (status {0}); see BAML_CLIENT_API_KEY")]
    Key(u16),
    #[error("the provider asks for a key; BAML_CLIENT_API_KEY is not set")]
    NoKey,
    #[error("the provider refuses the request with status {0}{1}")]
    Refused(u16, Words),
    #[error("the provider's answer is not understood")]
    Unreadable(#[source] serde_json::Error),
    #[error("the provider's answer is longer than {MOST_BYTES} bytes")]
    TooLong,
}

impl Failure {
    /// Tells whether the same question may be answered a little later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimit(..) | Self::Provider(..) | Self::Timeout(_) | Self::Broken(_))
    }

    /// Returns how long the provider asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimit(_, wait) | Self::Provider(_, _, wait) => *wait,
            _ => None,
        }
    }

    /// Returns words for the log: what is not ours to keep, as a provider's message, which may repeat the question, is left out.
    pub(crate) fn for_the_log(&self) -> String {
        match self {
            Self::RateLimit(words, _) => format!("rate limit ({})", words.kind()),
            Self::Provider(status, words, _) | Self::Refused(status, words) => format!("status {status} ({})", words.kind()),
            other => service_kit::words(other),
        }
    }
}

/// A provider's words on a failure, made harmless.
#[derive(Debug, Default)]
pub(crate) struct Words(Complaint);

impl Words {
    fn kind(&self) -> &str {
        self.0.kind.as_deref().unwrap_or("no reason given")
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.kind, &self.0.message) {
            (None, None) => Ok(()),
            (Some(text), None) | (None, Some(text)) => write!(f, ": {text}"),
            (Some(kind), Some(message)) => write!(f, ": {kind}: {message}"),
        }
    }
}

impl Client {
    /// Prepares requests.
    ///
    /// # Errors
    /// If the HTTP client can't be set up.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, BoxError> {
        let base = endpoint.url.as_ref().map_or_else(|| endpoint.provider.url.to_owned(), ToString::to_string);
        let url = format!("{base}{}", endpoint.provider.path);
        // No redirects: the key would go wherever they point to.
        let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(endpoint.limit);
        // A proxy can't reach what is on this machine.
        let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
        let http = builder.default_headers(headers(&endpoint)?).build()?;
        Ok(Self { endpoint, url, http })
    }

    /// Returns the name of the provider's kind.
    pub(crate) fn provider(&self) -> &'static str {
        self.endpoint.provider.name
    }

    /// Returns where questions are sent to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks a question once; dropped, it breaks the request off.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn ask(&self, question: &Question, step_id: &str) -> Result<Answer, Failure> {
        let body = (self.endpoint.provider.write)(question);
        let sent = self.http.post(&self.url).header(STEP_ID, step_id).json(&body).send().await;
        let mut response = sent.map_err(|error| self.broken(error))?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(Failure::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return (self.endpoint.provider.read)(&body).map_err(Failure::Unreadable);
        }
        Err(match (status.as_u16(), self.words(&body)) {
            (429, words) => Failure::RateLimit(words, wait),
            (401 | 403, _) if self.endpoint.key.is_none() => Failure::NoKey,
            // A provider may quote the key, or parts of it.
            (status @ (401 | 403), _) => Failure::Key(status),
            (status @ (408 | 500..), words) => Failure::Provider(status, words, wait),
            (status, words) => Failure::Refused(status, words),
        })
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() { Failure::Timeout(self.endpoint.limit) } else { Failure::Broken(error.without_url()) }
    }

    fn words(&self, body: &[u8]) -> Words {
        let key = self.endpoint.key.as_ref().map(Secret::expose).filter(|key| !key.is_empty());
        let harmless = |text: String| {
            let text = key.map_or_else(|| text.clone(), |key| text.replace(key, "(hidden)"));
            text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(SHOWN).collect()
        };
        let Complaint { kind, message } = provider::complaint(body);
        Words(Complaint { kind: kind.map(harmless), message: message.map(harmless) })
    }
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap, BoxError> {
    let mut headers = HeaderMap::new();
    for (name, value) in endpoint.provider.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(key) = &endpoint.key {
        // The error is replaced: it must not show what it could not read.
        let value = HeaderValue::from_str(&format!("{}{}", endpoint.provider.key_prefix, key.expose()));
        let mut value = value.map_err(|_| "BAML_CLIENT_API_KEY can't be sent in a header")?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(endpoint.provider.key_header), value);
    }
    Ok(headers)
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    host.is_some_and(|host| host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()))
}

/// Reads a `Retry-After`: seconds, or a date as HTTP has it (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_wait_that_is_asked_for_is_read_or_left_out(text in "\\PC{0,40}", number in any::<u64>(), day in 0_u8..40, year in 0_u16..20_000) {
            let now = Timestamp::UNIX_EPOCH;
            prop_assert!(retry_after(&text, now).is_none() || text.contains(|c: char| c.is_ascii_digit()));
            let date = retry_after(&format!("Sat, {day} Nov {year} 10:01:30 GMT"), now);
            prop_assert!(date.is_none() || (1..=30).contains(&day));
            prop_assert_eq!(retry_after(&number.to_string(), now), Some(Duration::from_secs(number)));
        }
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("Sat, 21 Nov 2026 10:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn only_what_is_on_this_machine_is_asked_without_a_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:80/v1", true),
            ("http://[::1]:80/v1", true),
            ("http://localhost/v1", true),
            ("https://api.anthropic.com/v1", false),
            ("http://10.0.0.1/v1", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
