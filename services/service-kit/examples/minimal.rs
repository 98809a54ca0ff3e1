//! The smallest service: one variable, two routes. The tests of this crate drive it as a process.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use service_kit::variables::{FEATURE_SERVICE_URL, SECRET};
use service_kit::{App, BoxError, Check, Lifecycle, Program, Secret, Settings, Variable, upstream_check};

const TOKEN: Variable<Secret<String>> = Variable::new("TOKEN", &SECRET, "token that nobody may see").secret();

fn read(settings: &mut Settings) -> Vec<Check> {
    settings.optional(&TOKEN);
    let upstream = settings.optional(&FEATURE_SERVICE_URL);
    upstream.map(|upstream| upstream_check("feature-service", upstream)).into_iter().collect()
}

async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    tracing::info!("working");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "done"
}

/// Holds the mistake that the kit has to survive: nothing checks the index.
async fn item(Path(index): Path<usize>) -> &'static str {
    ["first"][index]
}

async fn start(_lifecycle: Lifecycle, checks: Vec<Check>) -> Result<App, BoxError> {
    let routes = Router::new().route("/slow/{milliseconds}", get(slow)).route("/items/{index}", get(item));
    Ok(App { routes, checks, ..App::default() })
}

async fn refuse(_checks: Vec<Check>) -> Result<(), BoxError> {
    Err("this always fails".into())
}

fn main() -> ExitCode {
    Program::new("minimal", "1.2.3", "shows what the kit does", read).command("--refuse", "fail", refuse).run(start)
}
