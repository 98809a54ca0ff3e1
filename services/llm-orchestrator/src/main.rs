//! llm-orchestrator: asks language models on behalf of the workers.
//!
//! A call becomes a question ([`prompts`], [`material`]), waits for its turn and is asked with patience ([`ask`]) over the provider's HTTP API ([`client`], [`provider`]);
//! the model's text is read strictly ([`answer`]).

mod answer;
mod ask;
mod client;
mod material;
mod prompts;
mod provider;
mod service;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use service_kit::{App, BoxError, Lifecycle, Program};

use ask::Asker;
use client::Client;
use prompts::Prompts;
use service::Service;
use settings::Config;

const ABOUT: &str = "asks language models on behalf of the workers";

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let prompts = Prompts::load(config.prompts.as_deref())?;
    let client = Client::new(config.endpoint)?;
    tracing::info!(provider = client.provider(), url = client.url(), model = config.model.name, "the provider is set");
    let service =
        Service { asker: Asker::new(client, config.patience), prompts, model: config.model, max_input_tokens: config.max_input_tokens };
    Ok(App { routes: service::routes(Arc::new(service)), ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, settings::read).run(start)
}
