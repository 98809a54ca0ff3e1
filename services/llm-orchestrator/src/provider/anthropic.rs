//! Anthropic's messages API: <https://docs.anthropic.com/en/api/messages>.

use feature_api::llm::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Provider, Question, Stop};

/// The messages API.
pub(super) const PROVIDER: Provider = Provider {
    name: "anthropic",
    url: "https://api.anthropic.com",
    path: "/v1/messages",
    headers: &[("anthropic-version", "2023-06-01")],
    key_header: "x-api-key",
    key_prefix: "",
    write,
    read,
};

fn write(question: &Question) -> Value {
    let turns = question.turns.iter().map(|turn| json!({"role": turn.speaker.role(), "content": turn.text}));
    let mut body = json!({
        "model": question.model,
        "max_tokens": question.max_tokens,
        "system": question.system,
        "messages": turns.collect::<Value>(),
    });
    if let Some(temperature) = question.temperature {
        body["temperature"] = json!(temperature);
    }
    body
}

#[derive(Deserialize)]
struct Message {
    model: String,
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Tokens,
}

/// A block of content; kinds that hold no answer, as a model's thoughts, are passed over.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    #[serde(other)]
    Other,
}

/// Tokens as they are counted; those of a cache are input too.
#[derive(Deserialize)]
struct Tokens {
    input_tokens: u32,
    output_tokens: u32,
    cache_creation_input_tokens: Option<u32>,
    cache_read_input_tokens: Option<u32>,
}

fn read(body: &[u8]) -> Result<Answer, serde_json::Error> {
    let message: Message = serde_json::from_slice(body)?;
    let cached = [message.usage.cache_creation_input_tokens, message.usage.cache_read_input_tokens];
    let input_tokens = cached.into_iter().flatten().fold(message.usage.input_tokens, u32::saturating_add);
    let text = message.content.into_iter().filter_map(|block| match block {
        Block::Text { text } => Some(text),
        Block::Other => None,
    });
    Ok(Answer {
        model: message.model,
        text: text.collect(),
        stop: stop(message.stop_reason),
        usage: Usage { input_tokens, output_tokens: message.usage.output_tokens },
    })
}

fn stop(reason: Option<String>) -> Stop {
    match reason.as_deref() {
        Some("end_turn" | "stop_sequence") => Stop::Complete,
        Some("max_tokens" | "model_context_window_exceeded") => Stop::TokenLimit,
        Some("refusal") => Stop::Declined,
        _ => Stop::Other(reason.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::question;
    use super::*;

    #[test]
    fn a_question_is_written_as_the_api_has_it() {
        let body = write(&question());
        assert_eq!(
            body,
            json!({
                "model": "m-1", "max_tokens": 100, "temperature": 0.5, "system": "function: plan",
                "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}],
            })
        );
        let silent = write(&Question { temperature: None, ..question() });
        assert_eq!(silent.get("temperature"), None, "some models refuse the field");
    }

    #[test]
    fn an_answer_is_its_text_blocks_and_all_its_tokens() {
        let body = r#"{"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1-dated", "stop_reason": "end_turn",
            "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": null, "output_tokens": 3, "service_tier": "standard"}}"#;
        let usage = Usage { input_tokens: 15, output_tokens: 3 };
        let expected = Answer { model: "m-1-dated".to_owned(), text: "ab".to_owned(), stop: Stop::Complete, usage };
        assert_eq!(read(body.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_ends_an_answer_is_told_apart() {
        for (reason, expected) in [
            (Some("stop_sequence"), Stop::Complete),
            (Some("max_tokens"), Stop::TokenLimit),
            (Some("model_context_window_exceeded"), Stop::TokenLimit),
            (Some("refusal"), Stop::Declined),
            (Some("tool_use"), Stop::Other("tool_use".to_owned())),
            (None, Stop::Other(String::new())),
        ] {
            assert_eq!(stop(reason.map(str::to_owned)), expected, "{reason:?}");
        }
    }

    #[test]
    fn another_message_is_refused() {
        for body in ["", "{}", r#"{"model": "m", "content": "text", "stop_reason": "end_turn", "usage": {}}"#, "[1]"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
