//! The supervisor's role in the tests of this crate: `local-supervisor memory|processes STATE BUILD`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use provision_local::{
    Backoff, KeeperCommand, LocalKubelet, LogSize, MemoryKubelet, RuntimeSettings, SupervisorError, SupervisorSettings, detach, supervise,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, state, build] = args.as_slice() else { return ExitCode::from(64) };
    let (state, build) = (PathBuf::from(state), build.parse().unwrap_or(0));
    let settings = SupervisorSettings { state: state.clone(), build, watcher: None, idle: Duration::from_secs(600) };
    let ended = match (kind.as_str(), detach()) {
        (_, Err(error)) => return fail(&error),
        ("memory", Ok(())) => supervise(settings, || Ok(MemoryKubelet::default())).await,
        (_, Ok(())) => supervise(settings, || Ok(LocalKubelet::open(runtime(state))?)).await,
    };
    ended.map_or_else(|error: SupervisorError| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    // Nobody is left to tell.
    drop(writeln!(std::io::stderr(), "{error}"));
    ExitCode::FAILURE
}

fn runtime(state: PathBuf) -> RuntimeSettings {
    let parts = std::env::current_exe().map(|own| own.with_file_name("local-parts")).unwrap_or_default();
    RuntimeSettings {
        state,
        keeper: KeeperCommand { program: parts.clone(), arguments: vec!["keeper".to_owned()] },
        catalogue: [("parts".to_owned(), parts)].into_iter().collect(),
        backoff: Backoff::default(),
        log: LogSize::default(),
    }
}
