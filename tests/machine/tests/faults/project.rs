//! A project of a few objects on one machine.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use machine::Ended;
use serde_json::Value;
use tempfile::TempDir;

const BASE: &str = "\
purpose: Tests of faults
data: synthetic
platform: {name: small, namespace: small}
target: {kubernetes: '1.36', engine: local}
images: {program: {image: provision.local/local-models}, postgres: {image: provision.local/local-postgres}}
";

/// A namespace, and what every rendered project needs: a reader of each value.
const NAMESPACE: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: \"{{ values.platform.namespace }}\", labels: {part-of: \"{{ values.platform.name }}\"}}
";

/// A project folder with its own state folder; what runs ends when it is dropped.
pub(super) struct Project {
    folder: TempDir,
    state: PathBuf,
}

impl Project {
    /// Makes a project of a namespace and `objects`.
    pub(super) fn new(objects: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("faults-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let state = folder.path().join("state");
        let project = Self { folder, state };
        project.write("environments/local.yaml", BASE);
        project.write("templates/namespace.yaml", NAMESPACE);
        project.objects(objects);
        project
    }

    /// Sets the objects beside the namespace.
    pub(super) fn objects(&self, objects: &str) {
        self.write("templates/objects.yaml", objects);
    }

    /// Uses another state folder.
    pub(super) fn with_state(mut self, state: PathBuf) -> Self {
        self.state = state;
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the folder of what runs.
    pub(super) fn local(&self) -> PathBuf {
        self.state.join("local")
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.folder.path().join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("provision"));
        command.args(arguments).args(["--env", "local", "--root"]).arg(self.folder.path()).arg("--state").arg(&self.state);
        command.env_remove("RUST_LOG").env_remove("PROVISION_ENV").env_remove("PROVISION_STATE").stdin(Stdio::null());
        command
    }

    pub(super) fn provision(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs a command that must end well.
    #[track_caller]
    pub(super) fn well(&self, arguments: &[&str]) -> Ended {
        let ended = self.provision(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Runs a command that must end with `code`, and say all of `words`.
    #[track_caller]
    pub(super) fn badly(&self, arguments: &[&str], code: i32, words: &[&str]) -> Ended {
        let ended = self.provision(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "`{word}` is not in: {}", ended.stderr);
        }
        ended
    }

    /// Returns what `status` tells programs.
    pub(super) fn status(&self) -> Value {
        serde_json::from_str(&self.provision(&["status", "-o", "json"]).stdout).unwrap()
    }

    /// Returns the notices of `status`.
    pub(super) fn notices(&self) -> Vec<String> {
        self.status()["notices"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// Lists the processes in a role of this project's supervisor.
    pub(super) fn in_role(&self, role: &str) -> Vec<i32> {
        let state = self.local().to_string_lossy().into_owned();
        machine::processes_with(|words| words.get(1).is_some_and(|word| word == role) && words.get(2) == Some(&state))
    }

    /// Kills the supervisor and its watcher as a power cut would.
    pub(super) fn kill_supervisor(&self) {
        let running = || ["--watcher", "--supervisor"].map(|role| self.in_role(role)).concat();
        assert_eq!(running().len(), 2);
        // Each brings the other back, so the last look must have found nobody.
        wait("they are gone", || {
            let found = running();
            found.iter().copied().for_each(machine::kill_hard);
            found.is_empty().then_some(())
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test that failed has said why.
        drop(self.command(&["down", "--yes", "--timeout", "60s"]).output());
    }
}

/// Returns the folder of the programs under test.
pub(super) fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().to_owned()
}

pub(super) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Waits for something, at most half a minute.
#[track_caller]
pub(super) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never comes to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads the output of a child until it holds `text`.
pub(super) fn read_until(child: &mut Child, text: &str) -> String {
    let output = child.stdout.as_mut().unwrap();
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&read).contains(text) {
        let count = output.read(&mut byte).unwrap();
        assert_eq!(count, 1, "it ended with: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Writes a Deployment that runs a line of shell.
pub(super) fn deployment(name: &str, line: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: small}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: {name}
        image: \"{{{{ image('program') }}}}\"
        command: [/bin/sh, -c, {line:?}]
{more}"
    )
}

/// Joins objects to one file.
pub(super) fn all(objects: &[&str]) -> String {
    objects.join("---\n")
}
