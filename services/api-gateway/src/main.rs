//! api-gateway: the door of the platform; ready when the services behind it accept connections.

use std::process::ExitCode;

use service_kit::variables::{FEATURE_SERVICE_URL, REPOSITORY_SERVICE_URL};
use service_kit::{App, BoxError, Check, Lifecycle, Program, Settings, upstream_check};

const ABOUT: &str = "routes clients' requests to the services of the feature platform";

struct Config {
    checks: Vec<Check>,
}

fn read(settings: &mut Settings) -> Config {
    let upstreams =
        [("feature-service", settings.optional(&FEATURE_SERVICE_URL)), ("repository-service", settings.optional(&REPOSITORY_SERVICE_URL))];
    let check = |(name, upstream): (_, Option<_>)| upstream.map(|upstream| upstream_check(name, upstream));
    Config { checks: upstreams.into_iter().filter_map(check).collect() }
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    Ok(App { checks: config.checks, ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
