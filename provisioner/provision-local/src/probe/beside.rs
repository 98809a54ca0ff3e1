use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::keeper::{CheckAnswer, CheckRequest, LaunchSpec};
use crate::runtime::KeeperCommand;

/// How long a keeper may take in addition to what it runs.
const KEEPER: Duration = Duration::from_secs(10);

type Prepare = Box<dyn Fn(&[String]) -> Result<LaunchSpec, String> + Send + Sync>;

/// Runs commands beside the program of a container: the same variables, user and limits.
pub(crate) struct Beside {
    keeper: KeeperCommand,
    prepare: Prepare,
}

impl Beside {
    /// Takes how keepers are started and how a command becomes something to launch.
    pub(crate) fn new(keeper: KeeperCommand, prepare: impl Fn(&[String]) -> Result<LaunchSpec, String> + Send + Sync + 'static) -> Self {
        Self { keeper, prepare: Box::new(prepare) }
    }

    /// Runs one command; good is exit code 0 in time. Nothing of it is left afterwards, also when this is dropped.
    pub(super) async fn run(&self, command: &[String], limit: Duration) -> Result<(), String> {
        let launch = (self.prepare)(command)?;
        let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let request = CheckRequest { role: self.keeper.arguments.clone(), launch, timeout_ms };
        let failed = |error: std::io::Error| format!("the command can't be run: {error}");
        let mut child = Command::new(&self.keeper.program)
            .args(&self.keeper.arguments)
            .arg("check")
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let answer = timeout(limit + KEEPER, exchange(&mut child, &request)).await;
        // Its keeper ends by itself when nobody listens any more; it is collected then.
        tokio::spawn(async move { child.wait().await });
        let answer = answer.map_err(|_| "the command can't be run: its keeper does not answer".to_owned())?.map_err(failed)?;
        match answer.exit_code {
            Some(0) => Ok(()),
            Some(code) => Err(format!("command exited with {code}: {}", answer.output.trim())),
            None => Err(format!("command {command:?} timed out after {limit:?}")),
        }
    }
}

/// Keeps the input open until the answer is there: its end says that the answer is not wanted any more.
async fn exchange(child: &mut Child, request: &CheckRequest) -> std::io::Result<CheckAnswer> {
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(std::io::Error::other("its keeper has no pipes"));
    };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    input.write_all(&line).await?;
    input.flush().await?;
    let mut text = Vec::new();
    output.read_to_end(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}
