//! PostgreSQL under our program, as an ordinary user.

#![cfg(test)]

mod faults;
mod life;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::{User, geteuid};
use service_testing::{Service, eventually};
use tempfile::TempDir;

const PASSWORD: &str = "canary-7fd1'/\"secret";

/// Who a test's programs run as; PostgreSQL refuses root.
#[derive(Clone, Copy)]
enum Runner {
    /// Who runs the test, or `postgres` if that is root.
    Ordinary,
    /// A user id without a name, if root runs the test.
    Nameless,
}

/// A folder for a server, and a copy of the program that its user can run.
struct Lab {
    folder: TempDir,
    runner: Runner,
    port: u16,
}

impl Lab {
    fn new() -> Self {
        Self::of(Runner::Ordinary)
    }

    fn of(runner: Runner) -> Self {
        let folder = tempfile::Builder::new().prefix("local-pg-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lab = Self { folder, runner, port };
        fs::set_permissions(lab.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_local-postgres"), lab.program()).unwrap();
        fs::create_dir(lab.state()).unwrap();
        if let Some((user, group)) = lab.ids() {
            chown(lab.state(), Some(user), Some(group)).unwrap();
        }
        lab
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("local-postgres")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn data(&self) -> PathBuf {
        self.state().join("data")
    }

    /// Returns the user and group to become, if root runs the test.
    fn ids(&self) -> Option<(u32, u32)> {
        let postgres = || User::from_name("postgres").unwrap().expect("install PostgreSQL with `apt-get install postgresql`");
        geteuid().is_root().then(|| match self.runner {
            Runner::Ordinary => (postgres().uid.as_raw(), postgres().gid.as_raw()),
            Runner::Nameless => (65_432, 65_432),
        })
    }

    /// Returns the words in front of a command that make it run as this test's user.
    fn wrapper(&self) -> Vec<String> {
        let become_it = |(user, group)| {
            vec![
                "/usr/bin/setpriv".to_owned(),
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
                "--".to_owned(),
            ]
        };
        self.ids().map(become_it).unwrap_or_default()
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut words = self.wrapper().into_iter().map(PathBuf::from).chain([program.as_ref().to_owned()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir("/");
        command
    }

    fn start(&self) -> Service {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[(&str, &str)]) -> Service {
        let (state, port) = (self.state(), self.port.to_string());
        let mut variables = vec![("POSTGRES_DATA", state.to_str().unwrap()), ("POSTGRES_PORT", port.as_str())];
        variables.push(("DATABASE_PASSWORD", PASSWORD));
        variables.extend(more);
        let mut words = self.wrapper();
        words.push(self.program().to_str().unwrap().to_owned());
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        Service::start(&words[0], &arguments, &variables).unwrap()
    }

    /// Starts the server and waits until it takes clients.
    fn ready(&self) -> Service {
        let service = self.start();
        service.wait_for_readiness(200).unwrap();
        service
    }

    /// Starts the program where it can't work, and returns its log.
    fn refused(&self, more: &[(&str, &str)]) -> String {
        let mut service = self.start_with(more);
        assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
        service.log()
    }

    /// Asks the server over TCP, as the services do.
    fn query_as(&self, password: &str, sql: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "feature", "-d", "feature", "-c", sql])
            .env("PGPASSWORD", password)
            .output();
        result(output)
    }

    fn query(&self, sql: &str) -> String {
        self.query_as(PASSWORD, sql).unwrap()
    }

    fn postmaster(&self) -> Option<i32> {
        fs::read_to_string(self.data().join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
    }

    /// Waits until no server works on the data folder.
    fn wait_for_no_server(&self) {
        let gone = || (!self.data().join("postmaster.pid").exists()).then_some(());
        eventually("the server ends", gone).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A server whose program was killed ends by itself; its folder goes when it has.
        if self.data().exists() && !std::thread::panicking() {
            self.wait_for_no_server();
        }
    }
}

fn result(output: io::Result<Output>) -> Result<String, String> {
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
