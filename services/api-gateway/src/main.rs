//! api-gateway: the door of the platform. It asks clients who they are, limits them, passes their calls on, and shows the dashboard.

mod client;
mod config;
mod dashboard;
mod gateway;
mod limit;
mod methods;
mod oidc;
mod pages;
mod proxy;

use std::process::ExitCode;

use service_kit::{App, BoxError, Lifecycle, Program, upstream_check};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::methods::Target;

const ABOUT: &str = "routes clients' requests to the services of the feature platform, and shows its dashboard";

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    // Once it has found the services it is there to say which of them is away, or that the issuer's keys are not known: a door that
    // vanishes says nothing.
    let behind = [(Target::Features, &config.feature_service), (Target::Repositories, &config.repository_service)];
    let check = |(target, upstream): (Target, &Option<_>)| upstream.clone().map(|upstream| upstream_check(target.name(), upstream).once());
    let checks = behind.into_iter().filter_map(check).collect();
    let connections = Some(config.connections);
    let gateway = Gateway::new(config, lifecycle.clone())?;
    let tasks = gateway.keys_task(lifecycle.stopping()).into_iter().collect();
    Ok(App { routes: gateway.routes(), checks, tasks, connections })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, config::read).run(start)
}
