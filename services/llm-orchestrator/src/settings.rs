//! What the orchestrator is configured with.

use std::path::PathBuf;
use std::time::Duration;

use service_kit::variables::{COUNT, PATH, SECONDS, TEXT, UPSTREAM};
use service_kit::{Kind, Secret, Settings, Upstream, Variable};

use crate::ask::Patience;
use crate::client::Endpoint;
use crate::provider::{self, Provider};

const PROVIDER_KIND: Kind<&'static Provider> = Kind { expected: "anthropic or openai", parse: provider::by_name };
/// Zero is a temperature; some models take none at all.
const TEMPERATURE_KIND: Kind<Option<f64>> = Kind { expected: "a number from 0 to 2, or none", parse: parse_temperature };
/// What a header can carry.
const KEY_KIND: Kind<Secret<String>> = Kind { expected: "a key of visible ASCII characters", parse: parse_key };
const URL_KIND: Kind<Upstream> = Kind { expected: "a URL like https://api.anthropic.com", parse: UPSTREAM.parse };

const PROVIDER: Variable<&'static Provider> = Variable::new(
    "BAML_CLIENT_PROVIDER",
    &PROVIDER_KIND,
    "whose API the provider speaks: Anthropic's messages or OpenAI's chat completions",
)
.or("anthropic");
const PROVIDER_URL: Variable<Upstream> = Variable::new(
    "LLM_PROVIDER_URL",
    &URL_KIND,
    "where the provider is; if not set, `https://api.anthropic.com` or `https://api.openai.com`",
);
const API_KEY: Variable<Secret<String>> = Variable::new("BAML_CLIENT_API_KEY", &KEY_KIND, "key for the provider").secret();
const MODEL: Variable<String> = Variable::new("BAML_CLIENT_MODEL", &TEXT, "model that is asked");
const MAX_TOKENS: Variable<u32> = Variable::new("BAML_MAX_TOKENS", &COUNT, "longest answer, in tokens").or("8192");
const TEMPERATURE: Variable<Option<f64>> =
    Variable::new("BAML_TEMPERATURE", &TEMPERATURE_KIND, "how varied answers are; `none` leaves it to the model").or("0.1");
const MAX_INPUT_TOKENS: Variable<u32> =
    Variable::new("LLM_MAX_INPUT_TOKENS", &COUNT, "longest question, in tokens, estimated as three bytes each").or("150000");
const REQUEST_TIMEOUT: Variable<Duration> =
    Variable::new("LLM_REQUEST_TIMEOUT_SECONDS", &SECONDS, "longest time for one request to the provider").or("120");
const TIMEOUT: Variable<Duration> =
    Variable::new("LLM_TIMEOUT_SECONDS", &SECONDS, "longest time for a call: its place in the queue, waits and repeats included").or("540");
const TRIES: Variable<u32> =
    Variable::new("LLM_TRIES", &COUNT, "most requests to the provider for one question while it is limited, overloaded or down").or("5");
const BACKOFF: Variable<Duration> =
    Variable::new("LLM_BACKOFF_SECONDS", &SECONDS, "wait before the first repeat; doubled for each further one, up to a minute").or("1");
const CONCURRENCY: Variable<u32> =
    Variable::new("LLM_CONCURRENCY", &COUNT, "most calls at a time; further ones wait for their turn").or("8");
const QUEUE: Variable<u32> = Variable::new("LLM_QUEUE", &COUNT, "most calls that wait for their turn; further ones are refused").or("256");
const PROMPTS: Variable<String> =
    Variable::new("LLM_PROMPTS_PATH", &PATH, "folder whose `plan.md` and `patch.md` stand in for the built-in prompts");

/// The orchestrator's configuration.
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) model: Model,
    pub(crate) patience: Patience,
    pub(crate) max_input_tokens: u32,
    pub(crate) prompts: Option<PathBuf>,
}

/// What is asked, and how it is to answer.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: Option<f64>,
}

/// Reads the configuration.
pub(crate) fn read(settings: &mut Settings) -> Config {
    let endpoint = Endpoint {
        provider: settings.required(&PROVIDER),
        url: settings.optional(&PROVIDER_URL),
        key: settings.optional(&API_KEY),
        limit: Duration::ZERO,
    };
    let model =
        Model { name: settings.required(&MODEL), max_tokens: settings.required(&MAX_TOKENS), temperature: settings.required(&TEMPERATURE) };
    let max_input_tokens = settings.required(&MAX_INPUT_TOKENS);
    let endpoint = Endpoint { limit: settings.required(&REQUEST_TIMEOUT), ..endpoint };
    let patience = Patience {
        total: settings.required(&TIMEOUT),
        tries: settings.required(&TRIES),
        backoff: settings.required(&BACKOFF),
        concurrency: settings.required(&CONCURRENCY),
        queue: settings.required(&QUEUE),
    };
    let prompts = settings.optional(&PROMPTS).map(PathBuf::from);
    Config { endpoint, model, patience, max_input_tokens, prompts }
}

fn parse_temperature(text: &str) -> Option<Option<f64>> {
    if text == "none" {
        return Some(None);
    }
    text.parse().ok().filter(|temperature| (0.0..=2.0).contains(temperature)).map(Some)
}

fn parse_key(text: &str) -> Option<Secret<String>> {
    text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_a_range_or_none() {
        for (text, expected) in [
            ("0", Some(Some(0.0))),
            ("0.1", Some(Some(0.1))),
            ("2", Some(Some(2.0))),
            ("none", Some(None)),
            ("2.1", None),
            ("-0.1", None),
            ("NaN", None),
            ("warm", None),
        ] {
            assert_eq!(parse_temperature(text), expected, "{text}");
        }
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        for (text, usable) in [("sk-ant-7_x", true), ("two words", false), ("line\n", false), ("schlüssel", false)] {
            assert_eq!(parse_key(text).is_some(), usable, "{text:?}");
        }
    }
}
