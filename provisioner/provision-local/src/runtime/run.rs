use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::KeeperCommand;
use crate::keeper::{ExitRecord, HealthRecord, KeeperError, KeeperRecord, RunFolder, RunSpec, StopRequest, end_remains, now};

/// How long a keeper may take to come up, and to end after its program was killed.
const KEEPER: Duration = Duration::from_secs(15);
/// Time between two looks at a keeper that has not begun.
const GREETING: Duration = Duration::from_millis(2);
/// How long what a killed keeper left may take to end.
const REMAINS: Duration = Duration::from_secs(10);

/// Why a run can't be started.
#[derive(Debug, Error)]
pub(super) enum RunError {
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] KeeperError),
    /// The keeper does not come up.
    #[error("the keeper of the container does not start: {message}")]
    Keeper {
        /// What is known.
        message: String,
        /// Why.
        #[source]
        source: Option<io::Error>,
    },
}

/// One run of a container whose keeper is known.
#[derive(Clone)]
pub(super) struct Run {
    folder: RunFolder,
    pub(super) spec: RunSpec,
    keeper: KeeperRecord,
    pub(super) started: Timestamp,
}

/// What is in a container's folder.
pub(super) struct Latest {
    /// Number of the run, from 0.
    pub(super) number: u32,
    /// Ends in a row before this run.
    pub(super) ends: u32,
    /// How the run before it ended.
    pub(super) previous: Option<ExitRecord>,
    /// The run itself.
    pub(super) state: Found,
}

/// How the latest run is.
pub(super) enum Found {
    /// It goes on.
    Running(Box<Run>),
    /// It has ended.
    Ended(ExitRecord),
}

impl Run {
    /// Starts a run: its keeper is recorded durably before the program starts.
    ///
    /// A drop on the way starts nothing: the keeper waits for a last word.
    pub(super) async fn start(folder: PathBuf, spec: RunSpec, command: &KeeperCommand) -> Result<Self, RunError> {
        let failed = |message: &str| {
            let message = message.to_owned();
            move |source| RunError::Keeper { message, source: Some(source) }
        };
        let folder = RunFolder::new(folder);
        make_folder(folder.path()).map_err(failed("its folder can't be made"))?;
        folder.write_spec(&spec)?;
        let diary =
            OpenOptions::new().create(true).append(true).mode(0o600).open(folder.diary()).map_err(failed("its log can't be made"))?;
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .arg("run")
            .arg(folder.path())
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(diary)
            .spawn()
            .map_err(failed(&format!("{} can't be started", command.program.display())))?;
        let greeted = timeout(KEEPER, greet(&mut child)).await;
        // Collected when it ends, so that its id is free again.
        tokio::spawn(async move { child.wait().await });
        match greeted {
            Ok(result) => result.map_err(failed(fs::read_to_string(folder.diary()).unwrap_or_default().trim()))?,
            Err(_) => return Err(RunError::Keeper { message: "it does not answer".to_owned(), source: None }),
        }
        let Some(keeper) = folder.keeper()? else {
            return Err(RunError::Keeper { message: "it left no record".to_owned(), source: None });
        };
        let started = folder.program()?.map_or_else(now, |program| program.started);
        Ok(Self { folder, spec, keeper, started })
    }

    /// Returns what probes have found out about this run so far.
    pub(super) fn health(&self) -> HealthRecord {
        self.folder.health().ok().flatten().unwrap_or_default()
    }

    /// Keeps what probes have found out, so that it stays known when the supervisor is killed.
    pub(super) fn note_health(&self, health: HealthRecord) {
        if health != self.health()
            && let Err(error) = self.folder.write_health(&health)
        {
            tracing::warn!(%error, "the health of a container can't be written down");
        }
    }

    /// Waits for the end of the run and returns how it ended, whoever was killed.
    pub(super) async fn ended(&self) -> ExitRecord {
        if self.keeper.is_alive() {
            self.keeper.keeper.ended().await;
        }
        let run = self.clone();
        spawn_blocking(move || run.conclude()).await.unwrap_or_else(|_| self.unknown())
    }

    /// Asks the program to end, kills everything after the grace period, and returns how it ended.
    pub(super) async fn stop(&self, grace: Duration) -> ExitRecord {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = self.folder.write_stop(&StopRequest { grace_ms }) {
            tracing::warn!(%error, "the grace period can't be written; the one of the start counts");
        }
        self.signal(Signal::SIGTERM);
        match timeout(grace + KEEPER, self.ended()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.signal(Signal::SIGKILL);
                self.ended().await
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if self.keeper.is_alive() {
            self.keeper.keeper.signal(signal);
        }
    }

    /// Returns what the keeper wrote down; without it nobody knows, and what is left is ended first.
    fn conclude(&self) -> ExitRecord {
        if let Ok(Some(exit)) = self.folder.exit() {
            return exit;
        }
        let clean = end_remains(&self.spec, &self.keeper, REMAINS);
        let mut exit = self.unknown();
        if !clean {
            exit.message.push_str("; some of its processes could not be ended");
        }
        if let Err(error) = self.folder.write_exit(&exit) {
            tracing::warn!(%error, "the end of a container can't be written down");
        }
        exit
    }

    fn unknown(&self) -> ExitRecord {
        ExitRecord {
            exit_code: 137,
            reason: "ContainerStatusUnknown".to_owned(),
            message: "the keeper of the container was killed, so nobody knows how it ended".to_owned(),
            started: self.started,
            finished: now(),
        }
    }
}

async fn greet(child: &mut Child) -> io::Result<()> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut lines = BufReader::new(output).lines();
    if lines.next_line().await?.is_none() {
        return Err(io::Error::other("it has ended"));
    }
    input.write_all(b"g").await?;
    input.flush().await?;
    // Missing when the keeper is killed at once; its record says the rest.
    lines.next_line().await?;
    Ok(())
}

/// Makes a folder for the owner only; those above it let others pass to the volumes.
fn make_folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o711).create(above)?;
    }
    DirBuilder::new().mode(0o700).create(path)
}

/// Looks into the folder of a container: what its latest run is, with everything left of a killed keeper ended.
///
/// Runs that have never begun are removed.
pub(super) fn latest(container: &Path) -> Option<Latest> {
    let mut runs = numbered(container);
    while let Some((number, path)) = runs.pop() {
        let folder = RunFolder::new(path.clone());
        let (Ok(Some(spec)), Some(keeper)) = (folder.spec(), begun(&folder)) else {
            drop(fs::remove_dir_all(&path));
            continue;
        };
        let started = folder.program().ok().flatten().map_or_else(now, |program| program.started);
        let previous = runs.last().and_then(|(_, path)| RunFolder::new(path.clone()).exit().ok().flatten());
        let (ends, run) = (spec.ends, Run { folder, spec, keeper, started });
        let alive = run.keeper.is_alive() && matches!(run.folder.exit(), Ok(None));
        let state = if alive { Found::Running(Box::new(run)) } else { Found::Ended(run.conclude()) };
        return Some(Latest { number, ends, previous, state });
    }
    None
}

/// Returns the keeper of a run if it has begun; one that was not told to begin by a supervisor that has died ends now.
fn begun(folder: &RunFolder) -> Option<KeeperRecord> {
    let end = Instant::now() + KEEPER;
    loop {
        let alive = folder.keeper().ok()??.is_alive();
        // Read again: it may have begun just before it ended.
        let record = folder.keeper().ok()??;
        if record.begun {
            return Some(record);
        }
        if !alive {
            return None;
        }
        if Instant::now() >= end {
            // It would begin after we have forgotten it.
            record.keeper.signal(Signal::SIGKILL);
        }
        std::thread::sleep(GREETING);
    }
}

/// Lists the runs of a container, the newest last.
pub(super) fn numbered(container: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(container).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.split_once('-')?.0.parse().ok();
    let mut found: Vec<(u32, PathBuf)> = entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    found.sort();
    found
}

/// Names the folder of a run; no two of one number are the same, as a keeper of a start that was broken off may still write.
pub(super) fn folder_name(number: u32) -> String {
    format!("{number}-{:x}", Timestamp::now().as_nanosecond())
}
