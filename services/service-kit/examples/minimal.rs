//! The smallest service: two variables, two routes. The tests of this crate drive it as a process.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use service_kit::variables::{FEATURE_SERVICE_URL, SECONDS, SECRET};
use service_kit::{App, BoxError, Check, Lifecycle, Program, Secret, Settings, Variable, upstream_check};

const TOKEN: Variable<Secret<String>> = Variable::new("TOKEN", &SECRET, "token that nobody may see").secret();
const START: Variable<Duration> = Variable::new("START_SECONDS", &SECONDS, "how long the start takes").or("0");

struct Config {
    checks: Vec<Check>,
    start: Duration,
}

fn read(settings: &mut Settings) -> Config {
    settings.optional(&TOKEN);
    let upstream = settings.optional(&FEATURE_SERVICE_URL);
    let checks = upstream.map(|upstream| upstream_check("feature-service", upstream)).into_iter().collect();
    Config { checks, start: settings.required(&START) }
}

async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    tracing::info!("working");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "done"
}

/// Asks whether a line would be read and then writes none, between requests, as database drivers do.
async fn prepare_lines() {
    let quiet = tracing::trace_span!("quiet");
    loop {
        if quiet.metadata().is_some_and(|line| tracing::dispatcher::get_default(|log| log.enabled(line))) {
            tracing::trace!("prepared");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Holds the mistake that the kit has to survive: nothing checks the index.
async fn item(Path(index): Path<usize>) -> &'static str {
    ["first"][index]
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    tracing::info!("starting");
    tokio::time::sleep(config.start).await;
    tokio::spawn(prepare_lines());
    let routes = Router::new().route("/slow/{milliseconds}", get(slow)).route("/items/{index}", get(item));
    Ok(App { routes, checks: config.checks, ..App::default() })
}

async fn refuse(_config: Config) -> Result<(), BoxError> {
    Err("this always fails".into())
}

fn main() -> ExitCode {
    Program::new("minimal", "1.2.3", "shows what the kit does", read).command("--refuse", "fail", refuse).run(start)
}
