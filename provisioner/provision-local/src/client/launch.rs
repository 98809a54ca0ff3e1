//! Starts the supervisor when none answers; of several commands at the same time only one does.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{LocalCluster, is_absent};
use crate::protocol::Ask;
use crate::socket;
use crate::store::StoreError;

/// Longest time that a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of the supervisor's log from which on a new file is begun.
const LOG_LIMIT: u64 = 1 << 20;
/// Bytes of its log that an error shows.
const LOG_SHOWN: u64 = 2048;

/// How a supervisor is started: a program whose `main` leads to [`crate::supervise`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Why the supervisor can't be reached.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The state folder can't be used.
    #[error("failed to {action} {}", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A newer version of the program wrote the objects.
    #[error("{} can't be used by this version; nothing was touched", path.display())]
    Newer {
        /// State folder.
        path: PathBuf,
        /// Which versions.
        #[source]
        source: Box<StoreError>,
    },
    /// It can't be started.
    #[error("failed to start the supervisor {}", program.display())]
    Start {
        /// Its program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended at once.
    #[error("the supervisor of {} ended ({status}) before it answered; it says: {log}", path.display())]
    Ended {
        /// State folder.
        path: PathBuf,
        /// How.
        status: ExitStatus,
        /// Why, or the end of its log.
        log: String,
    },
    /// It does not answer.
    #[error("the supervisor of {} does not answer within {} s", path.display(), PATIENCE.as_secs())]
    Silent {
        /// State folder.
        path: PathBuf,
        /// What went wrong last.
        #[source]
        source: io::Error,
    },
}

/// Makes sure that a supervisor of this build or a newer one answers.
pub(super) async fn ensure(cluster: &LocalCluster) -> Result<(), LocalError> {
    let settings = &cluster.0.settings;
    let end = Instant::now() + PATIENCE;
    let state = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::State { action, path, source }
    };
    if let Ok(hello) = cluster.hello().await
        && hello.build >= settings.build
    {
        return Ok(());
    }
    // Whoever has this lock is about to start one.
    let _lock = loop {
        match socket::lock(&cluster.0.control, "start.lock").map_err(state("lock", &cluster.0.control))? {
            Some(lock) => break lock,
            None if Instant::now() >= end => {
                return Err(LocalError::Silent { path: settings.state.clone(), source: io::ErrorKind::TimedOut.into() });
            }
            None => tokio::time::sleep(PAUSE).await,
        }
    };
    match cluster.hello().await {
        Ok(hello) if hello.build >= settings.build => return Ok(()),
        Ok(hello) => {
            tracing::info!(pid = hello.pid, "an older supervisor is asked to hand over");
            // It may have ended meanwhile, which is all that is asked.
            let _ = cluster.exchange(Ask::HandOver).await;
        }
        Err(error) if is_absent(&error) => {}
        Err(source) => return Err(LocalError::Silent { path: settings.state.clone(), source }),
    }
    let (log, path) = open_log(&settings.state).map_err(state("write the log of", &settings.state))?;
    let begin = log.metadata().map_or(0, |metadata| metadata.len());
    let mut child =
        start(&settings.launch, &log).map_err(|source| LocalError::Start { program: settings.launch.program.clone(), source })?;
    loop {
        let answered = match cluster.hello().await {
            Ok(hello) if hello.pid == child.id() => return reap_later(child),
            Ok(_) => io::Error::from(io::ErrorKind::AddrInUse),
            Err(error) => error,
        };
        if let Ok(Some(status)) = child.try_wait() {
            return Err(LocalError::Ended { path: settings.state.clone(), status, log: last_words(&end_of(&path, begin)) });
        }
        if Instant::now() >= end {
            return Err(LocalError::Silent { path: settings.state.clone(), source: answered });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for the child as long as this process lives, so that it does not stay behind as a zombie.
fn reap_later(mut child: Child) -> Result<(), LocalError> {
    let reaper = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
    if let Err(error) = reaper {
        tracing::debug!(%error, "nobody waits for the supervisor");
    }
    Ok(())
}

fn start(launch: &Launch, log: &File) -> io::Result<Child> {
    // It leads a session of its own as soon as it runs.
    Command::new(&launch.program)
        .args(&launch.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .current_dir("/")
        .spawn()
}

fn open_log(state: &Path) -> io::Result<(File, PathBuf)> {
    let folder = state.join("logs");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join("supervisor.log");
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        fs::rename(&path, folder.join("supervisor.log.1"))?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

/// Returns the error of the last line that tells one, or else all of it.
fn last_words(log: &str) -> String {
    let error = |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["error"].as_str()?.to_owned());
    log.lines().rev().find_map(error).unwrap_or_else(|| log.to_owned())
}

/// Reads what was written to a log after `begin`, at most its end.
fn end_of(path: &Path, begin: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(LOG_SHOWN))))?;
        let mut bytes = Vec::new();
        file.take(LOG_SHOWN).read_to_end(&mut bytes)?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_supervisor_are_its_error() {
        let json = "{\"level\":\"INFO\",\"message\":\"works\"}\n{\"level\":\"ERROR\",\"message\":\"ends\",\"error\":\"no block is free\"}";
        for (log, words) in [(json, "no block is free"), ("killed by\nsomebody", "killed by\nsomebody"), ("", "")] {
            assert_eq!(last_words(log), words);
        }
    }
}
