//! Runs one command beside a container for a probe or a hook, and leaves nothing behind.

use std::io::{self, Read, Write as _};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::guard::{code, lead, reap, start};
use super::record::LaunchSpec;
use super::sweep::end_descendants;
use super::{KeeperError, KernelContext as _};
use crate::limits::Groups;

/// Most bytes of output that are kept.
const OUTPUT: usize = 10 * 1024;
const PAUSE: Duration = Duration::from_millis(5);
/// How long the command's processes may take to end.
const END: Duration = Duration::from_secs(5);

/// What to run; one line of JSON on standard input, which stays open as long as the answer is wanted.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CheckRequest {
    /// Words behind the program's name that make it a keeper.
    pub(crate) role: Vec<String>,
    /// What is started.
    pub(crate) launch: LaunchSpec,
    /// Longest time, in milliseconds.
    pub(crate) timeout_ms: u64,
}

/// What came of it; JSON on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckAnswer {
    /// Exit code; none if the time was over.
    pub(crate) exit_code: Option<i32>,
    /// What it wrote first.
    pub(crate) output: String,
}

/// Does what standard input asks for, and answers on standard output.
pub(super) fn answer() -> Result<(), KeeperError> {
    let keeper = lead()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).trying("read what to check")?;
    let request: CheckRequest = serde_json::from_str(&line).map_err(io::Error::other).trying("understand what to check")?;
    let (left, unwanted) = mpsc::channel::<()>();
    thread::spawn(move || watch_input(left));
    let (output, input) = io::pipe().trying("make a pipe")?;
    let errors = input.try_clone().trying("make a pipe")?;
    let (sender, collected) = mpsc::channel();
    thread::spawn(move || collect(output, &sender));
    let launch = LaunchSpec { parent: keeper.pid, ..request.launch };
    let groups = Groups::of(&[]);
    let program = start(&launch, &request.role, (input.into(), errors.into()))?;
    let exit_code = wait(program, Duration::from_millis(request.timeout_ms), &unwanted);
    end_descendants(keeper.pid, program, &groups, END);
    let output = collected.recv_timeout(END).unwrap_or_default();
    let text = serde_json::to_vec(&CheckAnswer { exit_code, output }).map_err(io::Error::other).trying("write the answer")?;
    io::stdout().write_all(&text).trying("write the answer")
}

/// Returns the exit code, or none when the time is over or nobody waits for the answer any more.
fn wait(program: i32, limit: Duration, unwanted: &Receiver<()>) -> Option<i32> {
    let end = Instant::now() + limit;
    loop {
        if let (Some(status), _) = reap(program) {
            return Some(code(status));
        }
        let gone = matches!(unwanted.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        if gone || Instant::now() >= end {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

fn watch_input(left: Sender<()>) {
    let mut rest = [0; 64];
    while matches!(io::stdin().read(&mut rest), Ok(count) if count > 0) {}
    drop(left);
}

/// Keeps the beginning of the output and reads the rest, so that the command does not hang.
fn collect(mut output: impl Read, sender: &Sender<String>) {
    let mut kept = Vec::new();
    let mut block = [0; 4096];
    while let Ok(count) = output.read(&mut block) {
        if count == 0 {
            break;
        }
        kept.extend(block[..count].iter().take(OUTPUT.saturating_sub(kept.len())));
    }
    // Nobody is left to ask.
    drop(sender.send(String::from_utf8_lossy(&kept).into_owned()));
}
