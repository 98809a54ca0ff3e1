//! git-service: clones, branches and pushes for the workers.

use std::process::ExitCode;

use service_kit::variables::{GIT_CLONE_TIMEOUT, GIT_OPERATION_TIMEOUT, GIT_WORKSPACE_BASE_PATH};
use service_kit::{App, BoxError, Lifecycle, Program, Settings};

const ABOUT: &str = "clones, branches and pushes repositories";

/// Reads the settings for their mistakes; no repository is touched yet.
fn read(settings: &mut Settings) {
    settings.required(&GIT_WORKSPACE_BASE_PATH);
    settings.required(&GIT_CLONE_TIMEOUT);
    settings.required(&GIT_OPERATION_TIMEOUT);
}

async fn start(_lifecycle: Lifecycle, _config: ()) -> Result<App, BoxError> {
    Ok(App::default())
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
