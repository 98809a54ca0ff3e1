//! The same program in the roles that it starts itself in: the supervisor of one machine, and the keeper of one container.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use provision_local::{
    Backoff, Catalogue, KeeperCommand, Launch, LocalKubelet, LocalSettings, LogSize, RuntimeSettings, SupervisorSettings, detach, keeper,
    supervise, wait_for_end,
};
use tracing_subscriber::filter::LevelFilter;

use crate::error::CliError;

/// How long a supervisor that has nothing to keep waits for the next command.
const IDLE: Duration = Duration::from_secs(30);
const SUPERVISOR: &str = "--supervisor";
const WATCHER: &str = "--watcher";
const KEEPER: &str = "--keeper";

/// Plays the role that the arguments name; none if they are a person's.
pub(crate) fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    if role == KEEPER {
        return Some(keeper::main(arguments));
    }
    if role != SUPERVISOR && role != WATCHER {
        return None;
    }
    let Some(state) = arguments.next() else { return Some(ExitCode::from(2)) };
    Some(if role == WATCHER { watcher(Path::new(&state)) } else { supervisor(PathBuf::from(state)) })
}

/// Says how the supervisor of a state folder is reached, and started from this program.
pub(crate) fn settings(state: PathBuf) -> Result<LocalSettings, CliError> {
    let program = this_program()?;
    let arguments: Vec<OsString> = vec![SUPERVISOR.into(), state.clone().into()];
    Ok(LocalSettings { state, build: build_of(&program), launch: Launch { program, arguments } })
}

/// Returns the folder of the programs that were installed into a state folder.
pub(crate) fn installed(state: &Path) -> PathBuf {
    state.join("programs")
}

/// Returns the folder of this program, where those that it runs are too.
pub(crate) fn folder() -> Result<PathBuf, CliError> {
    let program = this_program()?;
    Ok(program.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf))
}

fn this_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|source| CliError::File { action: "find", path: PathBuf::from("provision"), source })
}

/// Numbers builds by the time of the file, so that a newer program takes over from an older supervisor.
fn build_of(program: &Path) -> u64 {
    let modified = std::fs::metadata(program).and_then(|file| file.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

/// Waits until the supervisor has ended without a word, and takes its place.
fn watcher(state: &Path) -> ExitCode {
    let ended = detach().and_then(|()| wait_for_end(state)).and_then(|()| std::env::current_exe());
    let error = match ended {
        Ok(program) => Command::new(program).arg(SUPERVISOR).arg(state).exec(),
        Err(error) => error,
    };
    logs();
    tracing::error!(%error, "nobody takes the place of the supervisor");
    ExitCode::FAILURE
}

fn supervisor(state: PathBuf) -> ExitCode {
    logs();
    match run(state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = explained(error.as_ref()), "the supervisor ends");
            ExitCode::FAILURE
        }
    }
}

/// Writes an error with its causes on one line.
fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn logs() {
    tracing_subscriber::fmt().json().flatten_event(true).with_max_level(LevelFilter::INFO).with_writer(std::io::stderr).init();
}

fn run(state: PathBuf) -> Result<(), Box<dyn Error + Send + Sync>> {
    detach()?;
    let program = std::env::current_exe()?;
    let watcher = Launch { program: program.clone(), arguments: vec![WATCHER.into(), state.clone().into()] };
    let settings = SupervisorSettings { state: state.clone(), build: build_of(&program), watcher: Some(watcher), idle: IDLE };
    let catalogue = Catalogue::default().with_installed(installed(&state));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let open = || {
        let settings = RuntimeSettings {
            state,
            keeper: KeeperCommand { program, arguments: vec![KEEPER.to_owned()] },
            catalogue,
            backoff: Backoff::default(),
            log: LogSize::default(),
        };
        LocalKubelet::open(settings).map_err(Into::into)
    };
    Ok(runtime.block_on(supervise(settings, open))?)
}
