use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A project folder of one test: the repository's environments, the test's own templates.
pub struct Project {
    folder: TempDir,
    kubeconfig: PathBuf,
    /// Namespace that the test's templates use; every environment file of the project names it.
    pub namespace: String,
}

/// How one run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Ended {
    /// Asserts the exit code; shows how both outputs end when it is another.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- end of stdout\n{}\n--- end of stderr\n{}", end(&self.stdout), end(&self.stderr));
        self
    }

    /// Reads the JSON events of a run.
    ///
    /// # Panics
    /// When a line is no JSON.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Returns both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Project {
    /// Makes a project with one environment, named like the namespace, so that no other run has the same release.
    ///
    /// # Panics
    /// When the folder can't be written.
    #[expect(clippy::expect_used, reason = "a test without its project must fail, with the reason")]
    pub fn new(kubeconfig: &Path, namespace: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("provision-test-").tempdir().expect("a folder");
        let project = Self { folder, kubeconfig: kubeconfig.to_path_buf(), namespace: namespace.to_owned() };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let base = std::fs::read_to_string(repository.join("environments/base.yaml")).expect("the base environment");
        let dev = std::fs::read_to_string(repository.join("environments/dev.yaml")).expect("the dev environment");
        project.write("environments/base.yaml", &base);
        project.write(&format!("environments/{namespace}.yaml"), &dev);
        std::fs::create_dir_all(project.path("templates/platform")).expect("a templates folder");
        project
    }

    /// Returns a path inside the project.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file of the project.
    ///
    /// # Panics
    /// When it can't be written.
    #[expect(clippy::expect_used, reason = "a test without its files must fail, with the reason")]
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Writes the one template; `NAMESPACE` stands for the test's namespace.
    ///
    /// The lab has the image of busybox; another cluster pulls the one that `PROVISION_TEST_IMAGE` names.
    pub fn template(&self, text: &str) {
        let mut text = text.replace("NAMESPACE", &self.namespace);
        if let Ok(image) = std::env::var("PROVISION_TEST_IMAGE") {
            text = text.replace("lab.local/busybox:1", &image).replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent");
        }
        self.write("templates/platform/test.yaml", &text);
    }

    /// Prepares the binary with the project and the cluster.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("provision"));
        command
            .args(arguments)
            .arg("--root")
            .arg(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PROVISION_STATE", self.path("state"))
            .env("PROVISION_DEV_DATABASE_URL", "postgres://feature:unused@127.0.0.1:1/feature")
            .envs([("PROVISION_DEV_S3_ACCESS_KEY", "unused"), ("PROVISION_DEV_S3_SECRET_KEY", "unused")])
            .env("PROVISION_ENV", &self.namespace)
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// When it can't be started.
    #[expect(clippy::expect_used, reason = "a test without the binary must fail, with the reason")]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let started = Instant::now();
        let output = self.command(arguments).output().expect("the binary (`cargo build --bins`)");
        ended(&output, started)
    }

    /// Starts the binary; the caller kills it or waits for it.
    ///
    /// # Panics
    /// When it can't be started.
    #[expect(clippy::expect_used, reason = "a test without the binary must fail, with the reason")]
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary (`cargo build --bins`)")
    }
}

/// Waits for a started binary.
///
/// # Panics
/// When it can't be waited for.
#[expect(clippy::expect_used, reason = "a test without the result must fail, with the reason")]
pub fn wait(child: Child, started: Instant) -> Ended {
    ended(&child.wait_with_output().expect("the binary ends"), started)
}

fn ended(output: &Output, started: Instant) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        elapsed: started.elapsed(),
    }
}

/// The last lines of an output: the verdict stands there, and a report that is cut short keeps it.
fn end(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
