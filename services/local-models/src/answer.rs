//! From a request to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use metrics::counter;
use service_kit::{Lifecycle, Secret};

use crate::conversations::{ConversationId, Conversations};
use crate::messages::{Answer, Kind, Refusal, Request};
use crate::script::{Question, Reply, Script};

/// The provider; clones are the same one.
#[derive(Clone)]
pub(crate) struct Models(Arc<Provider>);

struct Provider {
    script: Script,
    key: Option<Secret<String>>,
    conversations: Conversations,
    lifecycle: Lifecycle,
    /// Makes ids that no earlier run has made.
    started: u64,
    requests: AtomicU64,
}

impl Models {
    pub(crate) fn new(script: Script, key: Option<Secret<String>>, lifecycle: Lifecycle) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let conversations = Conversations::default();
        Self(Arc::new(Provider { script, key, conversations, lifecycle, started, requests: AtomicU64::new(0) }))
    }
}

/// Answers `POST /v1/messages`.
pub(crate) async fn answer(State(models): State<Models>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let provider = models.0;
    let id = format!("{:x}{:08x}", provider.started, provider.requests.fetch_add(1, Ordering::Relaxed));
    let (rule, outcome) = provider.answer(&headers, body, &id).await;
    let rule = rule.unwrap_or_else(|| "none".to_owned());
    let status = outcome.as_ref().map_or_else(|refusal| refusal.kind.status(), |_| 200);
    counter!("models_requests_total", "rule" => rule.clone(), "status" => status.to_string()).increment(1);
    tracing::info!(rule, status, "asked");
    let request_id = format!("req_{id}");
    match outcome {
        Ok(answer) => {
            counter!("models_tokens_total", "direction" => "input").increment(answer.usage.input_tokens as u64);
            counter!("models_tokens_total", "direction" => "output").increment(answer.usage.output_tokens as u64);
            answer.into_response(&request_id)
        }
        Err(refusal) => refusal.into_response(&request_id),
    }
}

impl Provider {
    /// Returns the answer and the name of the rule that it comes from, if one fits.
    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
        id: &str,
    ) -> (Option<String>, Result<Answer, Refusal>) {
        let (request, conversation, reply) = match self.understand(headers, body) {
            Ok(understood) => understood,
            Err(refusal) => return (None, Err(refusal)),
        };
        let rule = Some(reply.rule.clone());
        if let Some(refusals) = reply.refuse
            && self.conversations.refuses(conversation, refusals.times)
        {
            let refusal = Refusal::new(refusals.kind, "refused, as the script says");
            return (rule, Err(refusal.retry_after(refusals.retry_after_seconds)));
        }
        if self.stopped_within(reply.latency).await {
            return (rule, Err(Refusal::new(Kind::Overloaded, "the provider is being stopped").retry_after(1)));
        }
        (rule, Ok(Answer::new(format!("msg_{id}"), request, reply.text)))
    }

    fn understand(&self, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<(Request, ConversationId, Reply), Refusal> {
        self.check_headers(headers)?;
        let body = body.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(Kind::TooLarge, "the request is larger than 32 MiB"),
            _ => Refusal::new(Kind::InvalidRequest, "the request's body did not arrive"),
        })?;
        let request: Request = serde_json::from_slice(&body).map_err(|error| Refusal::new(Kind::InvalidRequest, error.to_string()))?;
        request.check()?;
        let (system, texts) = (request.system.text(), request.user_texts());
        let (first, last) = (texts.first().map_or("", String::as_str), texts.last().map_or("", String::as_str));
        let reply = self.script.reply(Question { system: &system, first, last });
        let reply = reply.ok_or_else(|| Refusal::new(Kind::InvalidRequest, "no rule of the script fits this request"))?;
        Ok((request, ConversationId::of(&system, first), reply))
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        if key.is_empty() || self.key.as_ref().is_some_and(|expected| expected.expose() != key) {
            return Err(Refusal::new(Kind::Authentication, "invalid x-api-key"));
        }
        if !headers.contains_key("anthropic-version") {
            return Err(Refusal::new(Kind::InvalidRequest, "anthropic-version: header is required"));
        }
        Ok(())
    }

    /// Waits; tells whether the provider is to stop before the time is over.
    async fn stopped_within(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.lifecycle.stopping() => true,
            () = tokio::time::sleep(time), if !time.is_zero() => false,
            () = std::future::ready(()), if time.is_zero() => false,
        }
    }
}
