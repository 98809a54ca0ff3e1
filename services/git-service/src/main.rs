//! git-service: looks at remote repositories, reads them, and pushes changes to branches of their own.
//!
//! # Needs
//! The program `git` (2.36 or newer) and, for `ssh://`, OpenSSH's `ssh`, both on `PATH`; certificates of authorities for `https://`; an
//! entry in `/etc/passwd` for the user that it runs as, or `ssh` refuses to start; a folder for the cache that it may write. The program's
//! own file must be executable by that user: git starts it again, as below.
//!
//! # One program, three roles
//! - *service*: what the rest of this page is about.
//! - *launcher* (`git-service launch ...`): stands between the service and each `git`. It ends git's process group when git has ended,
//!   or when its own standard input closes, so that nothing that git started outlives the service, even if that is killed.
//! - *askpass*: git starts it to ask for a user and a password ([`git::askpass`]).
//!
//! # Secrets
//! A credential lies in an anonymous file of memory (`memfd`, mode 0600) as long as one git command needs it. Git's environment names
//! it as `/proc/<pid>/fd/<n>`, which only the same user can open; nothing is in arguments, on a disk, or left after a crash. `ssh` reads
//! its key from there itself.

mod cache;
mod counts;
mod failure;
mod git;
mod patch;
mod request;
mod service;
mod settings;
mod work;

use std::process::ExitCode;
use std::sync::Arc;

use service_kit::{App, BoxError, Check, Lifecycle, Program};

use crate::cache::Cache;
use crate::git::Git;
use crate::git::credentials::Credentials;
use crate::service::Service;
use crate::settings::Config;

const ABOUT: &str = "looks at remote repositories, reads them, and pushes changes to branches of their own";

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let credentials = Credentials::parse(config.credentials.expose())?;
    let git = Git::new(&config)?;
    tracing::info!(version = git.version().await?, "git");
    let cache = Cache::open(git, &config)?;
    let folder = cache.base().to_owned();
    let writable = Check::new("cache", move || {
        let folder = folder.clone();
        async move { cache::check_writable(&folder).await }
    });
    let service = Arc::new(Service { cache, credentials, rules: config.rules });
    Ok(App { routes: service::routes(service), checks: vec![writable], ..App::default() })
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let first = arguments.nth(1);
    if first.as_deref().is_some_and(|first| first == git::launch::ROLE) {
        return git::launch::run(arguments);
    }
    if let Some(file) = std::env::var_os(git::askpass::VARIABLE) {
        return git::askpass::run(&file, first.as_deref());
    }
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, settings::read).run(start)
}
