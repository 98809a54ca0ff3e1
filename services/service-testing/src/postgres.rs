//! A PostgreSQL server of a test's own.

use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

use crate::eventually;

/// Password of the test's database user: recognisable, and with a character that URLs encode.
pub const PASSWORD: &str = "canary-7fd1/secret";

const USER: &str = "feature";
const INSTALL: &str = "PostgreSQL is not installed; install it with `apt-get install postgresql` (no running cluster is needed)";

/// A server with an empty database `feature`, on a loopback port and a socket; it is stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    /// Whether a commit waits for the disk.
    durable: bool,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a new server and starts it; as user `postgres` if the test runs as root, which PostgreSQL refuses.
    ///
    /// # Errors
    /// If PostgreSQL is not installed (with the way to install it), or does not start (with its log).
    pub fn start() -> io::Result<Self> {
        Self::start_with(false)
    }

    /// Like [`Postgres::start`], but commits wait for the disk, as they do where it counts.
    ///
    /// # Errors
    /// As of [`Postgres::start`].
    pub fn start_durable() -> io::Result<Self> {
        Self::start_with(true)
    }

    fn start_with(durable: bool) -> io::Result<Self> {
        let programs = find_programs()?;
        let folder = tempfile::Builder::new().prefix("feature-pg-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut postgres = Self { programs, folder, port, durable, server: None };
        postgres.own_folder()?;
        let password_file = postgres.path("password");
        fs::File::create(&password_file)?.write_all(PASSWORD.as_bytes())?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o644))?;
        let mut initdb = postgres.command("initdb");
        initdb.arg("--pgdata").arg(postgres.path("data")).arg("--pwfile").arg(&password_file);
        initdb.args(["--username", USER, "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        succeed(initdb.output()?)?;
        postgres.resume()?;
        postgres.query_in("postgres", "CREATE DATABASE feature")?;
        Ok(postgres)
    }

    /// Returns the URL of the database, password included.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/feature", PASSWORD.replace('/', "%2F"), self.port)
    }

    /// Runs a query and returns its rows, one a line, columns separated by `|`.
    ///
    /// # Errors
    /// If the server refuses it; with its words.
    pub fn query(&self, sql: &str) -> io::Result<String> {
        self.query_in("feature", sql)
    }

    /// Stops the server, cutting connections off.
    ///
    /// # Errors
    /// If it does not stop within the deadline.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(server) = self.server.as_mut() else { return Ok(()) };
        let pid = i32::try_from(server.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        eventually("PostgreSQL stops", || server.try_wait().transpose())??;
        self.server = None;
        Ok(())
    }

    /// Starts the server again after [`Postgres::stop`], with its data and on its port.
    ///
    /// # Errors
    /// If it does not start within the deadline; with its log.
    pub fn resume(&mut self) -> io::Result<()> {
        let log = fs::File::create(self.path("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", if self.durable { "fsync=on" } else { "fsync=off" }]);
        self.server = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let answers = || TcpStream::connect(("127.0.0.1", self.port)).ok().and_then(|_| self.query_in("postgres", "SELECT 1").ok());
        let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
        eventually("PostgreSQL answers", answers).map(drop).map_err(|error| io::Error::other(format!("{error}\n{}", log())))
    }

    fn query_in(&self, database: &str, sql: &str) -> io::Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", USER, "-d", database, "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .output()?;
        succeed(output)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives the folder to the user that the server runs as.
    fn own_folder(&self) -> io::Result<()> {
        if geteuid().is_root() {
            let user = User::from_name("postgres")?.ok_or_else(|| io::Error::other(INSTALL))?;
            chown(self.folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }

    /// Makes a command that runs a server program as an ordinary user.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The server may have been stopped already; its folder goes with the test in any case.
        if self.stop().is_err()
            && let Some(server) = self.server.as_mut()
        {
            drop(server.kill());
        }
    }
}

/// Finds the newest installed version's programs.
fn find_programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").is_file()).max_by_key(|path| version(path));
    newest.map(|path| path.join("bin")).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, INSTALL))
}

fn succeed(output: Output) -> io::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}
