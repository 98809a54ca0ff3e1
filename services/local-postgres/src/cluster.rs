//! The data folder: made once, in one step, by the system's `initdb`.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{User, geteuid, syncfs};
use thiserror::Error;
use tokio::process::Command;
use tokio::time::sleep;

use crate::programs::Programs;

/// Superuser of the data folder; it has no password.
pub(crate) const SUPERUSER: &str = "postgres";

/// Sends a signal to the program that it starts, when the one that started it is gone.
const SETPRIV: &str = "/usr/bin/setpriv";
const UNSHARE: &str = "/usr/bin/unshare";
/// Id of `nobody`, which every machine has a name for.
const NOBODY: u32 = 65534;
/// How often an unfinished data folder is removed, and the time between.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    #[error("failed to {action} `{}`", path.display())]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` holds files, but no data of PostgreSQL; move it away to begin with an empty database", .0.display())]
    NoData(PathBuf),
    #[error("initdb failed: {0}")]
    Initdb(String),
    #[error("initdb failed for user id {0}, which has no name on this machine: {1}")]
    InitdbNameless(u32, String),
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::Disk { action, path: path.to_owned(), source }
}

/// The folder that all of a server lies in.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Takes a folder into use; makes what is missing of it.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn open(root: &Path) -> Result<Self, ClusterError> {
        let folder = Self { root: root.to_owned() };
        for path in [root.to_owned(), folder.socket()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(disk("make", &path))?;
        }
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("socket")
    }

    pub(crate) fn access_rules(&self) -> PathBuf {
        self.root.join("hba.conf")
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("data.new")
    }

    /// Returns the major version that made the data folder; none if it is still to be made.
    ///
    /// # Errors
    /// If the folder holds something else, or can't be read.
    pub(crate) fn made_by(&self) -> Result<Option<u32>, ClusterError> {
        let (data, file) = (self.data(), self.data().join("PG_VERSION"));
        match fs::read_to_string(&file) {
            Ok(text) => text.trim().split('.').next().and_then(|major| major.parse().ok()).map(Some).ok_or(ClusterError::NoData(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(&data) {
                Ok(mut entries) => {
                    if entries.next().is_none() {
                        Ok(None)
                    } else {
                        Err(ClusterError::NoData(data))
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(disk("read", &data)(error)),
            },
            Err(error) => Err(disk("read", &file)(error)),
        }
    }

    /// Makes the data folder: beside its place first, so that one that is there is whole.
    ///
    /// Dropped before its end, it leaves nothing that counts as data.
    ///
    /// # Errors
    /// If `initdb` fails, with its words; or the disk does.
    pub(crate) async fn make(&self, programs: &Programs) -> Result<(), ClusterError> {
        let unfinished = self.unfinished();
        if unfinished.exists() {
            tracing::warn!(path = %unfinished.display(), "a data folder that was not finished is made anew");
            remove(&unfinished).await?;
        }
        tracing::info!(path = %self.data().display(), version = programs.major, "making the data folder");
        let mut initdb = self.initdb(programs);
        let output = initdb.output().await.map_err(disk("run", &programs.path("initdb")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            let user = geteuid();
            return Err(if has_name() { ClusterError::Initdb(words) } else { ClusterError::InitdbNameless(user.as_raw(), words) });
        }
        let (root, data) = (self.root.clone(), self.data());
        let done = tokio::task::spawn_blocking(move || {
            // All at once: initdb by itself waits for the disk a thousand times.
            File::open(&unfinished).and_then(|folder| Ok(syncfs(folder)?)).map_err(disk("sync", &unfinished))?;
            // Takes the place of an empty folder too.
            fs::rename(&unfinished, &data).map_err(disk("make", &data))?;
            File::open(&root).and_then(|root| root.sync_all()).map_err(disk("sync", &root))
        });
        done.await.map_err(|error| ClusterError::Initdb(error.to_string()))?
    }

    fn initdb(&self, programs: &Programs) -> Command {
        let program = programs.path("initdb");
        // initdb asks for the name of who runs it. In a user namespace one without a name is `nobody`; the files stay his.
        let map = format!("--map-user={NOBODY}");
        let named = [OsStr::new(UNSHARE), "--user".as_ref(), map.as_ref(), "--".as_ref()];
        let named = if has_name() { &[][..] } else { &named[..] };
        let mut initdb = self.command(programs, named, "KILL", &program);
        initdb.arg("--pgdata").arg(self.unfinished()).args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions", "--no-sync"]);
        initdb.stdout(Stdio::null());
        initdb
    }

    /// Returns a command that runs a program of PostgreSQL, without our variables, and does not let it outlive us.
    pub(crate) fn command(&self, programs: &Programs, before: &[&OsStr], death_signal: &str, program: &Path) -> Command {
        let bound = [OsStr::new(SETPRIV), "--pdeathsig".as_ref(), death_signal.as_ref(), "--".as_ref()];
        let bound = if Path::new(SETPRIV).is_file() { &bound[..] } else { &[][..] };
        let mut words = before.iter().chain(bound).copied().chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.root).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.folder.display())).envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]);
        command
    }
}

/// Removes a folder that processes of a killed `initdb` may still write to for a moment.
async fn remove(path: &Path) -> Result<(), ClusterError> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => tries += 1,
            removed => return removed.map_err(disk("remove", path)),
        }
        sleep(BETWEEN_TRIES).await;
    }
}

/// Tells whether the machine has a name for who runs this program.
fn has_name() -> bool {
    User::from_uid(geteuid()).is_ok_and(|user| user.is_some())
}
