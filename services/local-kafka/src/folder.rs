//! The folder of the log: prepared once, in one step, by Kafka's own program.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::syncfs;
use thiserror::Error;
use tokio::process::Command;

use crate::installed::Installed;
use crate::log;
use crate::settings::{Listen, properties};

/// Kills the program that it starts, when the one that started it is gone.
const SETPRIV: &str = "/usr/bin/setpriv";
/// No optimizing compiler: the start counts here, and no request is heavy.
const JAVA: [&str; 6] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xshare:auto",
    "-Dlog4j2.level=WARN",
];

#[derive(Debug, Error)]
pub(crate) enum FolderError {
    #[error("failed to {action} `{}`", path.display())]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` can't be the folder of the log: Kafka takes a comma for the end of a folder's name", .0.display())]
    Comma(PathBuf),
    #[error("another program serves the folder `{}`", .0.display())]
    InUse(PathBuf),
    #[error("`{}` holds files, but no log of Kafka; move it away to begin with an empty one", .0.display())]
    NoLog(PathBuf),
    #[error("Kafka could not prepare its folder ({0})")]
    Format(String),
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::Disk { action, path: path.to_owned(), source }
}

/// The folder that all of a broker lies in; held until this is dropped.
pub(crate) struct Folder {
    root: PathBuf,
    /// Its lock ends with the process, however that ends.
    _lock: File,
}

impl Folder {
    /// Takes a folder into use; makes what is missing of it.
    ///
    /// # Errors
    /// If it can't be written, can't be told to Kafka, or another program serves it.
    pub(crate) fn open(root: &Path) -> Result<Self, FolderError> {
        if root.to_string_lossy().contains(',') {
            return Err(FolderError::Comma(root.to_owned()));
        }
        make_folder(root)?;
        let path = root.join("lock");
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = options.map_err(disk("open", &path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::InUse(root.to_owned()),
            TryLockError::Error(source) => disk("lock", &path)(source),
        })?;
        let folder = Self { root: root.to_owned(), _lock: lock };
        remove(&folder.temporary())?;
        make_folder(&folder.temporary())?;
        Ok(folder)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("data.new")
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Prepares the log unless it is there: beside its place first, so that one that is there is whole.
    ///
    /// # Errors
    /// If Kafka refuses, with its words; or the disk does.
    pub(crate) async fn prepare(&self, installed: &Installed, listen: &Listen) -> Result<(), FolderError> {
        let (data, unfinished) = (self.data(), self.unfinished());
        if data.join("meta.properties").is_file() {
            return Ok(());
        }
        if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(FolderError::NoLog(data));
        }
        remove(&unfinished)?;
        tracing::info!(path = %data.display(), "preparing the log");
        let settings = self.write_settings(listen, &unfinished)?;
        let mut format = self.command(installed, 128, "kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", &new_id()?, "--config"]).arg(settings);
        let output = format.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.map_err(disk("run", &installed.java))?;
        if !output.status.success() {
            let told = [output.stdout, output.stderr].concat();
            return Err(FolderError::Format(log::last_failure(&String::from_utf8_lossy(&told)).unwrap_or(output.status.to_string())));
        }
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || {
            File::open(&unfinished).and_then(|folder| Ok(syncfs(folder)?)).map_err(disk("sync", &unfinished))?;
            // Takes the place of an empty folder too.
            fs::rename(&unfinished, &data).map_err(disk("make", &data))?;
            File::open(&root).and_then(|root| root.sync_all()).map_err(disk("sync", &root))
        });
        done.await.map_err(|error| FolderError::Format(error.to_string()))?
    }

    /// Writes the broker's settings for a log in `data`, and returns their path.
    pub(crate) fn write_settings(&self, listen: &Listen, data: &Path) -> Result<PathBuf, FolderError> {
        let path = self.root.join("server.properties");
        fs::write(&path, properties(listen, data)).map_err(disk("write", &path))?;
        Ok(path)
    }

    /// Returns a command that runs one of Kafka's programs, without our variables, and does not let it outlive us.
    pub(crate) fn command(&self, installed: &Installed, heap: u32, class: &str) -> Command {
        let bound = Path::new(SETPRIV).is_file();
        let mut command = Command::new(if bound { Path::new(SETPRIV) } else { &installed.java });
        if bound {
            command.args(["--pdeathsig", "KILL", "--"]).arg(&installed.java);
        }
        command.arg(format!("-Xmx{heap}m")).args(JAVA).arg(format!("-Djava.io.tmpdir={}", self.temporary().display()));
        command.arg("-cp").arg(installed.jars.join("*")).arg(class);
        command.current_dir(&self.root).env_clear().envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

fn make_folder(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk("make", path))
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(disk("remove", path)),
    }
}

/// Any 32 digits are an id of a cluster; clients see when it is another one.
fn new_id() -> Result<String, FolderError> {
    let (path, mut bytes) = (Path::new("/dev/urandom"), [0; 16]);
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(disk("read", path))?;
    Ok(hex::encode(bytes))
}
