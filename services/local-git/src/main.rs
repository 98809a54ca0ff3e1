//! local-git: git repositories of one machine, served by git's own daemon; the first start makes one to try features with.
//!
//! Whoever reaches the port may read and write: it is for the loopback address only.

mod demo;
mod serve;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use service_kit::variables::{BIND_ADDRESS, PATH, PORT};
use service_kit::{App, BoxError, Check, Lifecycle, Program, Settings, Surface, Task, Variable};

const ABOUT: &str = "serves the git repositories of one machine";

const GIT_PORT: Variable<u16> = Variable::new("GIT_PORT", &PORT, "port of the git protocol").or("9418");
const FOLDER: Variable<String> = Variable::new("GIT_REPOSITORIES", &PATH, "folder of the repositories").or("/var/lib/git");

struct Config {
    address: SocketAddr,
    folder: PathBuf,
}

fn read(settings: &mut Settings) -> Config {
    let address = settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Config { address: SocketAddr::new(address, settings.required(&GIT_PORT)), folder: PathBuf::from(settings.required(&FOLDER)) }
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    demo::make(&config.folder).await?;
    let daemon = serve::Daemon::start(config.address, &config.folder)?;
    let address = config.address;
    let answers = Check::new("git", move || async move {
        let connected = tokio::net::TcpStream::connect(address).await;
        connected.map(drop).map_err(|error| format!("no connection to {address}: {}", error.kind()))
    });
    Ok(App { checks: vec![answers], tasks: vec![Task::new("git daemon", daemon.run(lifecycle))], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
