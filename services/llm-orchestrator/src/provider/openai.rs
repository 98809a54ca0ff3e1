//! OpenAI's chat completions, which many servers speak: <https://platform.openai.com/docs/api-reference/chat>.

use feature_api::llm::Usage;
use serde::Deserialize;
use serde::de::Error;
use serde_json::{Value, json};

use super::{Answer, Provider, Question, Stop};

/// The chat completions API.
pub(super) const PROVIDER: Provider = Provider {
    name: "openai",
    url: "https://api.openai.com",
    path: "/v1/chat/completions",
    headers: &[],
    key_header: "authorization",
    key_prefix: "Bearer ",
    write,
    read,
};

fn write(question: &Question) -> Value {
    let system = json!({"role": "system", "content": question.system});
    let turns = question.turns.iter().map(|turn| json!({"role": turn.speaker.role(), "content": turn.text}));
    let mut body = json!({
        "model": question.model,
        // The older `max_tokens` is refused by newer models.
        "max_completion_tokens": question.max_tokens,
        "messages": std::iter::once(system).chain(turns).collect::<Value>(),
    });
    if let Some(temperature) = question.temperature {
        body["temperature"] = json!(temperature);
    }
    body
}

#[derive(Deserialize)]
struct Completion {
    model: String,
    choices: Vec<Choice>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    prompt_tokens: u32,
    completion_tokens: u32,
}

fn read(body: &[u8]) -> Result<Answer, serde_json::Error> {
    let completion: Completion = serde_json::from_slice(body)?;
    let choice = completion.choices.into_iter().next().ok_or_else(|| serde_json::Error::custom("there is no choice"))?;
    // Some servers don't count.
    let usage = completion
        .usage
        .map_or_else(Usage::default, |tokens| Usage { input_tokens: tokens.prompt_tokens, output_tokens: tokens.completion_tokens });
    let stop = if choice.message.refusal.is_some() { Stop::Declined } else { stop(choice.finish_reason) };
    Ok(Answer { model: completion.model, text: choice.message.content.unwrap_or_default(), stop, usage })
}

fn stop(reason: Option<String>) -> Stop {
    match reason.as_deref() {
        Some("stop") => Stop::Complete,
        Some("length") => Stop::TokenLimit,
        Some("content_filter") => Stop::Declined,
        _ => Stop::Other(reason.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::question;
    use super::*;

    #[test]
    fn a_question_is_written_as_the_api_has_it() {
        assert_eq!(
            write(&question()),
            json!({
                "model": "m-1", "max_completion_tokens": 100, "temperature": 0.5,
                "messages": [
                    {"role": "system", "content": "function: plan"}, {"role": "user", "content": "one"},
                    {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"},
                ],
            })
        );
    }

    fn check_read(choice: &str, text: &str, stop: Stop) {
        let body = format!(
            r#"{{"model": "m", "choices": [{choice}], "usage": {{"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}}}"#
        );
        let usage = Usage { input_tokens: 7, output_tokens: 2 };
        assert_eq!(read(body.as_bytes()).unwrap(), Answer { model: "m".to_owned(), text: text.to_owned(), stop, usage }, "{choice}");
    }

    #[test]
    fn an_answer_is_its_first_choice() {
        check_read(r#"{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}"#, "a", Stop::Complete);
        check_read(r#"{"message": {"content": "a"}, "finish_reason": "length"}"#, "a", Stop::TokenLimit);
        check_read(r#"{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}"#, "", Stop::Declined);
        check_read(r#"{"message": {"content": ""}, "finish_reason": "content_filter"}"#, "", Stop::Declined);
        check_read(r#"{"message": {"content": "a"}, "finish_reason": "tool_calls"}"#, "a", Stop::Other("tool_calls".to_owned()));
    }

    #[test]
    fn another_message_is_refused_and_a_missing_count_is_not() {
        for body in ["", "{}", r#"{"model": "m", "choices": []}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let uncounted = r#"{"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}"#;
        assert_eq!(read(uncounted.as_bytes()).unwrap().usage, Usage::default());
    }
}
