//! The messages API as it is on the wire.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Bytes that are counted as one token.
const BYTES_PER_TOKEN: usize = 4;

/// A request; fields that change nothing here are not looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) max_tokens: u32,
    #[serde(default)]
    pub(crate) system: Content,
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) stream: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Assistant,
}

/// A text, whole or in blocks.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block {
    Text {
        text: String,
    },
    #[serde(other)]
    Other,
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Content {
    /// Returns all of its text; images and the like have none.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Blocks(blocks) => blocks
                .iter()
                .filter_map(|block| match block {
                    Block::Text { text } => Some(text.as_str()),
                    Block::Other => None,
                })
                .collect(),
        }
    }
}

impl Request {
    /// Checks what the provider would check.
    ///
    /// # Errors
    /// A refusal with the words for the client.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let wrong = match self {
            _ if self.model.is_empty() => "model: must not be empty",
            _ if self.max_tokens == 0 => "max_tokens: must be at least 1",
            _ if self.stream => "stream: this provider gives whole answers only",
            _ if self.messages.first().is_none_or(|message| message.role != Role::User) => "messages: the first one must be the user's",
            _ => return Ok(()),
        };
        Err(Refusal::new(Kind::InvalidRequest, wrong))
    }

    /// Returns the user's messages, in order.
    pub(crate) fn user_texts(&self) -> Vec<String> {
        self.messages.iter().filter(|message| message.role == Role::User).map(|message| message.content.text()).collect()
    }

    /// Returns the size of all that was asked, in tokens.
    pub(crate) fn tokens(&self) -> usize {
        let messages = self.messages.iter().map(|message| message.content.text().len()).sum::<usize>();
        (self.system.text().len() + messages).div_ceil(BYTES_PER_TOKEN)
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    Authentication,
    TooLarge,
    RateLimit,
    Api,
    Overloaded,
}

impl Kind {
    /// Returns the kind that a script means by a status.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        [Self::RateLimit, Self::Api, Self::Overloaded].into_iter().find(|kind| kind.wire().0 == status)
    }

    fn wire(self) -> (u16, &'static str) {
        match self {
            Self::InvalidRequest => (400, "invalid_request_error"),
            Self::Authentication => (401, "authentication_error"),
            Self::TooLarge => (413, "request_too_large"),
            Self::RateLimit => (429, "rate_limit_error"),
            Self::Api => (500, "api_error"),
            Self::Overloaded => (529, "overloaded_error"),
        }
    }

    /// Returns the status, for metrics.
    pub(crate) fn status(self) -> u16 {
        self.wire().0
    }
}

/// A refusal, as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    message: String,
    retry_after_seconds: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_seconds: None }
    }

    /// Says when the client may try again.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response {
        let (status, kind) = self.kind.wire();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({"type": "error", "error": {"type": kind, "message": self.message}, "request_id": request_id});
        let mut headers = headers(request_id);
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        (status, headers, Json(body)).into_response()
    }
}

/// An answer, as the client gets it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: String,
    content: Vec<TextBlock>,
    stop_reason: &'static str,
    stop_sequence: Option<String>,
    pub(crate) usage: Usage,
}

#[derive(Debug, Serialize)]
struct TextBlock {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Usage {
    pub(crate) input_tokens: usize,
    pub(crate) output_tokens: usize,
}

impl Answer {
    /// Answers `request` with as much of `text` as it asks for.
    pub(crate) fn new(id: String, request: Request, mut text: String) -> Self {
        let input_tokens = request.tokens();
        let most = usize::try_from(request.max_tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        let stop_reason = if text.len() > most { "max_tokens" } else { "end_turn" };
        text.truncate(text.floor_char_boundary(most));
        let usage = Usage { input_tokens, output_tokens: text.len().div_ceil(BYTES_PER_TOKEN) };
        let content = vec![TextBlock { kind: "text", text }];
        Self { id, kind: "message", role: "assistant", model: request.model, content, stop_reason, stop_sequence: None, usage }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response {
        (headers(request_id), Json(self)).into_response()
    }
}

fn headers(request_id: &str) -> HeaderMap {
    HeaderValue::try_from(request_id)
        .map(|id| HeaderMap::from_iter([(header::HeaderName::from_static("request-id"), id)]))
        .unwrap_or_default()
}
