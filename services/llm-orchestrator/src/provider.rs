//! Providers of models: how each kind is spoken to. Pure; [`crate::client`] sends and receives.

mod anthropic;
#[cfg(test)]
pub(crate) mod double;
mod openai;

use feature_api::llm::Usage;
use serde::Deserialize;
use serde_json::Value;

/// One kind of provider; a further kind is a further file.
pub(crate) struct Provider {
    /// Name in the configuration.
    pub(crate) name: &'static str,
    /// Where the company that made the API offers it.
    pub(crate) url: &'static str,
    /// Path of the one call.
    pub(crate) path: &'static str,
    /// Headers of every request.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Header that holds the key.
    pub(crate) key_header: &'static str,
    /// What stands in that header in front of the key.
    pub(crate) key_prefix: &'static str,
    /// Writes a question.
    pub(crate) write: fn(&Question) -> Value,
    /// Reads the answer of a request that succeeded.
    pub(crate) read: fn(&[u8]) -> Result<Answer, serde_json::Error>,
}

/// Every kind there is; the first is the one that is meant if nothing is said.
const PROVIDERS: [&Provider; 2] = [&anthropic::PROVIDER, &openai::PROVIDER];

/// Returns the provider of that name.
pub(crate) fn by_name(name: &str) -> Option<&'static Provider> {
    PROVIDERS.into_iter().find(|provider| provider.name == name)
}

impl Default for &'static Provider {
    fn default() -> Self {
        PROVIDERS[0]
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Model that is to answer.
    pub(crate) model: String,
    /// Longest answer, in tokens.
    pub(crate) max_tokens: u32,
    /// How varied the answer may be; the model's own choice if not set.
    pub(crate) temperature: Option<f64>,
    /// What the model is told to do.
    pub(crate) system: String,
    /// The conversation so far; begins and ends with the user.
    pub(crate) turns: Vec<Turn>,
}

/// One message of a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Who speaks.
    pub(crate) speaker: Speaker,
    /// What is said.
    pub(crate) text: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// We do.
    User,
    /// The model does.
    Model,
}

impl Speaker {
    /// Returns the name that both APIs have for it.
    fn role(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Model => "assistant",
        }
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Model that answered; a dated name, where the one that was asked is an alias.
    pub(crate) model: String,
    /// Its text.
    pub(crate) text: String,
    /// Why it ended.
    pub(crate) stop: Stop,
    /// What it cost.
    pub(crate) usage: Usage,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model was done.
    Complete,
    /// The longest answer was reached.
    TokenLimit,
    /// The model or its provider does not want to answer.
    Declined,
    /// Something that can't happen with what we ask.
    Other(String),
}

/// What a provider says of a request that failed; both APIs have it in the same place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Complaint {
    /// What kind of failure: `rate_limit_error`.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    /// Words for people.
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// Reads a complaint, as far as there is one.
pub(crate) fn complaint(body: &[u8]) -> Complaint {
    #[derive(Deserialize)]
    struct Body {
        error: Complaint,
    }
    serde_json::from_slice::<Body>(body).map(|body| body.error).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn any_body_is_an_answer_or_a_complaint_or_refused(
            bytes in any::<Vec<u8>>(),
            (tokens, cached) in (any::<i64>(), any::<Option<u32>>()),
            (text, stop) in (any::<Option<String>>(), any::<Option<String>>()),
        ) {
            let usage = json!({"input_tokens": tokens, "output_tokens": tokens, "prompt_tokens": tokens, "completion_tokens": tokens,
                "cache_read_input_tokens": cached});
            let body = json!({"model": "m", "content": [{"type": "text", "text": text}, {"type": stop}], "stop_reason": stop, "usage": usage,
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": stop}], "error": {"type": stop, "message": text}});
            for provider in PROVIDERS {
                drop((provider.read)(&bytes));
                if let Ok(answer) = (provider.read)(body.to_string().as_bytes()) {
                    prop_assert_eq!(answer.text, text.clone().unwrap_or_default());
                }
            }
            drop(complaint(&bytes));
            prop_assert_eq!(complaint(body.to_string().as_bytes()).message, text);
        }
    }

    /// Returns the question that the tests of all kinds write.
    pub(super) fn question() -> Question {
        let turn = |speaker, text: &str| Turn { speaker, text: text.to_owned() };
        Question {
            model: "m-1".to_owned(),
            max_tokens: 100,
            temperature: Some(0.5),
            system: "function: plan".to_owned(),
            turns: vec![turn(Speaker::User, "one"), turn(Speaker::Model, "two"), turn(Speaker::User, "three")],
        }
    }

    #[test]
    fn every_kind_has_its_name() {
        for provider in PROVIDERS {
            assert_eq!(by_name(provider.name).unwrap().path, provider.path);
        }
        assert!(by_name("none").is_none());
    }

    #[test]
    fn complaints_are_read_as_far_as_they_go() {
        for (body, kind, message) in [
            (
                r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#,
                Some("overloaded_error"),
                Some("Overloaded"),
            ),
            (r#"{"error": {"message": "m", "type": "invalid_request_error", "code": null}}"#, Some("invalid_request_error"), Some("m")),
            (r#"{"error": {"message": "m", "type": null}}"#, None, Some("m")),
            (r#"{"error": "text"}"#, None, None),
            ("<html>bad gateway</html>", None, None),
            ("", None, None),
        ] {
            let found = complaint(body.as_bytes());
            assert_eq!((found.kind.as_deref(), found.message.as_deref()), (kind, message), "{body}");
        }
    }
}
