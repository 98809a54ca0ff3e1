//! What the tests of the whole platform share: a platform on this machine in a folder of its own, everything that one can ask of it, and
//! the checks of one feature that hold on every engine.

mod bus;
mod cost;
mod database;
mod features;
mod platform;
mod processes;
mod secrets;
mod trace;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use bus::partitions;
pub use features::{Client, Feature};
pub use platform::{Platform, Ways, Worked, a_feature_becomes_a_branch};
pub use processes::{kill_hard, processes_with};
pub use secrets::encodings;
pub use trace::one_trace_over_all_services;

/// The platform on this machine, in a state folder of its own; it ends when this is dropped.
pub struct Machine {
    program: PathBuf,
    state: TempDir,
    client: Client,
    _turn: MutexGuard<'static, ()>,
}

/// One platform at a time: two of them would share two cores and the patience of the tests.
static TURN: Mutex<()> = Mutex::new(());

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Machine {
    /// Brings the platform up.
    ///
    /// # Panics
    /// When it does not come up; with what the command said.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// Brings the platform up with settings of the test's own, each `path=value`.
    ///
    /// # Panics
    /// When it does not come up; with what the command said.
    pub fn up_with(settings: &[&str]) -> Self {
        let machine = Self::empty();
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let ended = machine.provision(&["up", "--yes", "--timeout", "300s"].into_iter().chain(settings).collect::<Vec<_>>());
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
        machine
    }

    /// Prepares a state folder with nothing in it.
    ///
    /// # Panics
    /// When there is no place for it, or the programs are not built.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub fn empty() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::env::current_exe().expect("the test's own path");
        let folder = own.parent().and_then(Path::parent).expect("the test lies in a target folder");
        let program = folder.join("provision");
        assert!(program.is_file(), "{} is missing: cargo build --workspace --bins", program.display());
        let state = tempfile::Builder::new().prefix("machine-").tempdir_in("/var/tmp").expect("a folder for the state");
        // Services run as other users than root: they must be able to reach what is theirs.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(state.path(), open).expect("a folder of ours");
        Self { program, state, client: Client::new(), _turn: turn }
    }

    /// Returns the state folder.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Returns the folder of what runs.
    pub fn local(&self) -> PathBuf {
        self.state.path().join("local")
    }

    /// Puts a command together: the environment, this state folder, nothing of the caller's own settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--env", "local", "--root"]).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        command.env("PROVISION_STATE", self.state.path()).env_remove("RUST_LOG").env_remove("PROVISION_ENV");
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it can't be started.
    #[expect(clippy::expect_used, reason = "a test without its program must fail, with the reason")]
    pub fn provision(&self, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Returns the address of an endpoint, as `status` tells it.
    ///
    /// # Panics
    /// When `status` tells none.
    pub fn endpoint(&self, name: &str) -> String {
        let status = self.provision(&["status", "-o", "json"]);
        let told: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        let endpoint = told["endpoints"][name].as_str();
        endpoint.map(str::to_owned).unwrap_or_else(|| panic!("no endpoint {name}: {status:?}"))
    }
}

impl Deref for Machine {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let ended = self.provision(&["down", "--yes", "--timeout", "120s"]);
        if ended.code != Some(0) && !std::thread::panicking() {
            panic!("down failed: {ended:?}");
        }
    }
}

/// Waits until something is there, at most two minutes.
///
/// # Panics
/// When it does not come.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "it never comes to this: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
