//! llm-orchestrator: asks language models on behalf of the workers.

use std::process::ExitCode;

use service_kit::variables::{AMOUNT, COUNT, SECRET, TEXT};
use service_kit::{App, BoxError, Lifecycle, Program, Secret, Settings, Variable};

const ABOUT: &str = "asks language models on behalf of the workers";

const PROVIDER: Variable<String> = Variable::new("BAML_CLIENT_PROVIDER", &TEXT, "provider of the models").or("anthropic");
const MODEL: Variable<String> = Variable::new("BAML_CLIENT_MODEL", &TEXT, "model that is asked");
const MAX_TOKENS: Variable<u32> = Variable::new("BAML_MAX_TOKENS", &COUNT, "longest answer, in tokens").or("8192");
const TEMPERATURE: Variable<f64> = Variable::new("BAML_TEMPERATURE", &AMOUNT, "how varied answers are").or("0.1");
const API_KEY: Variable<Secret<String>> = Variable::new("BAML_CLIENT_API_KEY", &SECRET, "key for the provider").secret();

/// Reads the settings for their mistakes; the provider itself is not asked yet.
fn read(settings: &mut Settings) {
    settings.required(&PROVIDER);
    settings.optional(&MODEL);
    settings.required(&MAX_TOKENS);
    settings.required(&TEMPERATURE);
    settings.optional(&API_KEY);
}

async fn start(_lifecycle: Lifecycle, _config: ()) -> Result<App, BoxError> {
    Ok(App::default())
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
