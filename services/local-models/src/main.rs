//! local-models: a provider of language models whose answers are scripted, for environments on one machine and for tests.
//!
//! It speaks the provider's messages API (`POST /v1/messages`, headers `x-api-key` and `anthropic-version`), whole answers only, no
//! streams; tokens are counted as four bytes each. What it answers is a script: the built-in one, `script/default.yaml`, makes a complete
//! feature run possible; `MODELS_SCRIPT` names another one, as YAML or JSON.
//!
//! # Scripts
//!
//! The first rule that fits a request answers it; a request that no rule fits is refused with 400.
//!
//! ```yaml
//! rules:
//! - name: greeting                # of metrics and the log
//!   system: '\Afunction: plan$'   # regular expression that the system prompt must fit, line by line
//!   user: 'hello (?<who>\w+)'     # regular expression that the last message of the user must fit
//!   contains: hello               # text that the last message of the user must hold
//!   latency_ms: 250               # time before the answer
//!   refuse: {times: 2, status: 429, retry_after_seconds: 1}   # the first requests of each conversation; status 429, 500 or 529
//!   answer: "hello ${who}"        # with what `user` caught: ${name} or ${1}; $$ is one $
//! - builtin: plan                 # instead of `answer`: plan or patch, below
//! ```
//!
//! A conversation is a system prompt with a first message; after it was answered, it begins anew.
//!
//! # Built-in answers
//!
//! They read what is asked from the blocks `<instruction>` and `<tree>` of the user's first message. `plan` names `README.md` to be read, if there is
//! one, and a command that looks whether the file is there; `patch` makes the file, `features/<words of the instruction>.md`, with the
//! instruction in it. Words in brackets inside of an instruction change that:
//!
//! | in the instruction | what happens |
//! |---|---|
//! | `[fail-verify]` | the plan's command ends with 1 |
//! | `[slow:MS]` | each answer takes MS milliseconds, at most ten minutes |
//! | `[rate-limit:N]` | the first N requests of each conversation are refused with 429, `retry-after: 1` |
//! | `[overloaded:N]` | the same with 529 |
//! | `[bad-patch]` | the patch changes a file that does not exist |
//! | `[path-escape]` | the patch makes a file outside of the repository |
//! | `[garbage]` | the answers are neither a plan nor a patch |

mod answer;
mod builtin;
mod conversations;
mod messages;
mod script;

use std::path::PathBuf;
use std::process::ExitCode;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use service_kit::variables::{PATH, SECRET};
use service_kit::{App, BoxError, Lifecycle, Program, Secret, Settings, Variable};

use crate::answer::Models;
use crate::script::Script;

const ABOUT: &str = "answers as a provider of language models would, from a script";

/// Largest request, in bytes: the provider's own limit.
const BODY: usize = 32 * 1024 * 1024;

const MODELS_SCRIPT: Variable<String> = Variable::new("MODELS_SCRIPT", &PATH, "file of the answers; unset: the built-in ones");
const MODELS_API_KEY: Variable<Secret<String>> =
    Variable::new("MODELS_API_KEY", &SECRET, "the only key that is accepted; unset: any key is").secret();

struct Config {
    script: Option<PathBuf>,
    key: Option<Secret<String>>,
}

fn read(settings: &mut Settings) -> Config {
    Config { script: settings.optional(&MODELS_SCRIPT).map(PathBuf::from), key: settings.optional(&MODELS_API_KEY) }
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let script = match &config.script {
        Some(path) => Script::load(path).await?,
        None => Script::built_in()?,
    };
    tracing::info!(rules = script.rules().len(), script = config.script.as_ref().map(|path| path.display().to_string()), "script read");
    let models = Models::new(script, config.key, lifecycle);
    let routes = Router::new().route("/v1/messages", post(answer::answer)).layer(DefaultBodyLimit::max(BODY)).with_state(models);
    Ok(App { routes, ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
