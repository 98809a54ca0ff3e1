//! One git command as a process group: its time, its output, its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Git;
use super::credentials::Access;
use super::{askpass, launch};
use crate::failure::{Failure, Reason};

/// Most bytes of standard error that are kept.
const ERRORS: usize = 64 << 10;
/// Most bytes of standard output, unless told otherwise.
const OUTPUT: usize = 1 << 20;

/// A command that is put together.
pub(crate) struct Call<'a> {
    git: &'a Git,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    folder: PathBuf,
    access: Option<&'a Access>,
    input: Option<&'a Path>,
    limit: Duration,
    most: usize,
}

/// What a command wrote.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether it ended with exit code 0.
    pub(crate) success: bool,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error, its beginning.
    pub(crate) stderr: String,
}

impl Output {
    /// Returns standard output as text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(git: &'a Git, arguments: &[&str], limit: Duration) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { git, arguments, environment: Vec::new(), folder: "/".into(), access: None, input: None, limit, most: OUTPUT }
    }

    /// Adds operands after `--`: nothing in them is an option.
    pub(crate) fn operands<'b>(mut self, operands: impl IntoIterator<Item = &'b str>) -> Self {
        self.arguments.push("--".into());
        self.arguments.extend(operands.into_iter().map(OsString::from));
        self
    }

    /// Runs it on a bare repository.
    pub(crate) fn on(mut self, repository: &Path) -> Self {
        self.environment.push(("GIT_DIR", repository.into()));
        self
    }

    /// Runs it in a folder; there is nothing to find in the default one.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Sets a variable.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Lets it reach a remote, with its credential.
    pub(crate) fn access(mut self, access: &'a Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Gives it a file as standard input.
    pub(crate) fn input(mut self, input: &'a Path) -> Self {
        self.input = Some(input);
        self
    }

    /// Sets the longest time.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the most bytes that it may write to standard output.
    pub(crate) fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Runs it to a successful end; `what` completes "failed to".
    ///
    /// # Errors
    /// [`Failure`] by what git wrote; [`Reason::Timeout`] when its time is over, [`Reason::TooLarge`] if it writes too much. Its whole
    /// process group has been ended then.
    pub(crate) async fn run(self, what: &str) -> Result<Output, Failure> {
        let access = self.access;
        let output = self.run_to_any_end(what).await?;
        if output.success { Ok(output) } else { Err(Failure::of_git(what, &output.stderr, &Access::secrets(access))) }
    }

    /// Runs it to an end that the caller judges.
    ///
    /// # Errors
    /// As [`Call::run`], but for a failure of git itself.
    pub(crate) async fn run_to_any_end(self, what: &str) -> Result<Output, Failure> {
        let (limit, most) = (self.limit, self.most);
        let mut running = self.start().await?;
        let work = async {
            let mut stdout = Vec::new();
            // One more than allowed, to see that there is more.
            let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
            let read = (&mut running.stdout).take(bound).read_to_end(&mut stdout).await;
            read.map_err(|error| Failure::internal("failed to read what git wrote", &error))?;
            if stdout.len() > most {
                return Err(Failure::new(Reason::TooLarge, format!("failed to {what}: git wrote more than {most} bytes")));
            }
            let (success, stderr) = running.wait().await?;
            Ok(Output { success, stdout, stderr })
        };
        let over = || Failure::new(Reason::Timeout, format!("failed to {what}: not done within {} s", limit.as_secs()));
        timeout(limit, work).await.unwrap_or_else(|_| Err(over()))
    }

    /// Starts it; the caller reads its output.
    ///
    /// # Errors
    /// [`Failure`] if it can't be started.
    pub(crate) async fn start(self) -> Result<Running, Failure> {
        let permits = self.git.permits.clone();
        let permit = permits.acquire_owned().await.map_err(|error| Failure::internal("no git command may run", &error))?;
        let mut command = Command::new(&self.git.program);
        command.arg(launch::ROLE).arg(self.git.largest_file.to_string()).arg(self.input.unwrap_or(Path::new("/dev/null")));
        command.args(&self.arguments).current_dir(&self.folder).env_clear().envs(self.git.environment.iter().map(|(k, v)| (k, v)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let key = self.access.and_then(Access::key_file).map(|file| format!(" -i {file}")).unwrap_or_default();
        command.env("GIT_SSH_COMMAND", format!("{}{key}", self.git.ssh));
        command.env(askpass::VARIABLE, self.access.and_then(Access::password_file).unwrap_or_default());
        // When this pipe closes, also because we were killed, the launcher ends git and all that it started. A signal from a
        // terminal must not reach it: a service that drains lets its work end.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| Failure::internal("failed to start git", &error))?;
        let (Some(lifeline), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Failure::new(Reason::Internal, "git has no standard streams"));
        };
        let errors = tokio::spawn(beginning(stderr));
        Ok(Running { child, stdout, errors, _lifeline: lifeline, _permit: permit })
    }
}

/// A command that runs; dropping it ends git and all that it started.
pub(crate) struct Running {
    child: Child,
    /// What it writes.
    pub(crate) stdout: ChildStdout,
    errors: JoinHandle<String>,
    _lifeline: ChildStdin,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// Waits for its end; returns whether that was exit code 0, and what it wrote to standard error.
    ///
    /// # Errors
    /// [`Failure`] if the system does not tell.
    pub(crate) async fn wait(&mut self) -> Result<(bool, String), Failure> {
        let stderr = (&mut self.errors).await.unwrap_or_default();
        let status = self.child.wait().await.map_err(|error| Failure::internal("failed to wait for git", &error))?;
        Ok((status.success(), stderr))
    }
}

/// Reads to the end, so that the writer never waits, and returns the beginning.
async fn beginning(mut stream: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        let room = ERRORS.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&piece[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use service_kit::Settings;

    use super::*;

    #[test]
    fn no_operand_is_an_option() {
        let none: [(&str, &str); 0] = [];
        let git = Git::new(&crate::settings::read(&mut Settings::new(none))).unwrap();
        let call = git.call(&["fetch", "--quiet"]).operands(["--upload-pack=touch /tmp/owned", "main"]);
        assert_eq!(call.arguments, ["fetch", "--quiet", "--", "--upload-pack=touch /tmp/owned", "main"]);
    }
}
