//! local-postgres: the system's PostgreSQL as a part of an environment on one machine.
//!
//! It makes the data folder at the first start, keeps the server running as its child, sees to it that the role and the database are there, and
//! turns the server's log into lines of its own. It needs no shell and no configuration files, and ends with the server.
//!
//! ```text
//! POSTGRES_DATA/lock       held while a program of this kind serves the folder
//! POSTGRES_DATA/data       the server's data folder
//! POSTGRES_DATA/data.new   one that is being made; what a crash left of it is removed at the start
//! POSTGRES_DATA/socket     the server's socket; who may enter it is trusted, since he may read the data too
//! POSTGRES_DATA/hba.conf   who may log in: over TCP with the password only; written at each start
//! ```
//!
//! The superuser `postgres` has no password and so no way in but the socket. The role's password is set at each start, so a changed one counts
//! from the next start on.
//!
//! On SIGTERM clients have `SHUTDOWN_LAME_DUCK_SECONDS` more, then the server shuts down fast: open transactions are cut off, all that was
//! committed is there. If this program is killed, the server shuts down the same way; if it can't, the next start ends it.

mod cluster;
mod log;
mod programs;
mod role;
mod server;
mod settings;
mod supervise;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use service_kit::variables::{BIND_ADDRESS, PATH, SECRET, TEXT};
use service_kit::{App, BoxError, Check, Kind, Lifecycle, Program, Secret, Settings, Surface, Task, Variable};

use crate::cluster::SUPERUSER;
use crate::role::Role;
use crate::supervise::{Supervisor, prepare};

const ABOUT: &str = "runs the system's PostgreSQL in a folder, for one machine";

const SERVER_PORT: Kind<u16> = Kind { expected: "a port number from 1 to 65535", parse: |text| text.parse().ok().filter(|port| *port > 0) };
const NAME: Kind<String> = Kind { expected: "a name of at most 63 letters, digits and underscores", parse: parse_name };
const ROLE: Kind<String> = Kind {
    expected: "a name of at most 63 letters, digits and underscores, not postgres",
    parse: |text| parse_name(text).filter(|name| name != SUPERUSER),
};

const POSTGRES_DATA: Variable<String> = Variable::new("POSTGRES_DATA", &PATH, "folder of the data").or("/var/lib/postgresql");
const POSTGRES_PORT: Variable<u16> = Variable::new("POSTGRES_PORT", &SERVER_PORT, "port of the server").or("5432");
const POSTGRES_DATABASE: Variable<String> = Variable::new("POSTGRES_DATABASE", &NAME, "database that is made").or("feature");
const POSTGRES_USER: Variable<String> = Variable::new("POSTGRES_USER", &ROLE, "role that is made and owns the database").or("feature");
const DATABASE_PASSWORD: Variable<Secret<String>> = Variable::new("DATABASE_PASSWORD", &SECRET, "password of the role").secret();
const POSTGRES_PROGRAMS: Variable<String> =
    Variable::new("POSTGRES_PROGRAMS", &PATH, "folder of the installed versions, searched beside PATH").or("/usr/lib/postgresql");
const SEARCH_PATH: Variable<String> = Variable::new("PATH", &TEXT, "folders that are searched for PostgreSQL's programs");

/// What this program is configured with.
#[derive(Clone)]
struct Config {
    data: PathBuf,
    address: IpAddr,
    port: u16,
    role: Role,
    /// Where PostgreSQL's programs may be.
    versions: PathBuf,
    search_path: String,
}

fn parse_name(text: &str) -> Option<String> {
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    (plain && (1..=63).contains(&text.len())).then(|| text.to_owned())
}

fn read(settings: &mut Settings) -> Config {
    Config {
        data: settings.required(&POSTGRES_DATA).into(),
        address: settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        port: settings.required(&POSTGRES_PORT),
        role: Role {
            name: settings.required(&POSTGRES_USER),
            database: settings.required(&POSTGRES_DATABASE),
            password: settings.required(&DATABASE_PASSWORD),
        },
        versions: settings.required(&POSTGRES_PROGRAMS).into(),
        search_path: settings.optional(&SEARCH_PATH).unwrap_or_default(),
    }
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let prepared = prepare(config).await?;
    let supervisor = Arc::new(Supervisor::new(prepared));
    let checked = Arc::clone(&supervisor);
    let check = Check::new("postgresql", move || {
        let supervisor = Arc::clone(&checked);
        async move { supervisor.answers().await }
    });
    let run = async move { supervisor.run(lifecycle).await.map_err(BoxError::from) };
    Ok(App { checks: vec![check], tasks: vec![Task::new("postgresql", run)], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
