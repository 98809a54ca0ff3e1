//! A server that is not ours, as a child of a program of ours: its words in our log, its last ones when it ends.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest part of a line that is taken, in bytes.
const LONGEST: usize = 4096;
/// Its own children may hold its output open a moment longer than it lives.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server of somebody else that runs as a child.
#[derive(Debug)]
pub struct ForeignServer {
    name: &'static str,
    child: Child,
    last_failure: watch::Receiver<String>,
    log: JoinHandle<()>,
}

impl ForeignServer {
    /// Takes a child that was started and what it writes.
    ///
    /// `take` gets each line, at most 4096 bytes of it, to write it into our log, and returns what of it tells of a failure.
    pub fn new(
        name: &'static str,
        child: Child,
        output: impl AsyncRead + Unpin + Send + 'static,
        take: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        let (sender, last_failure) = watch::channel(String::new());
        Self { name, child, last_failure, log: tokio::spawn(relay(output, take, sender)) }
    }

    /// Waits for the server's end, and returns how it was, with its last failure.
    pub async fn ended(&mut self) -> String {
        let ended = self.child.wait().await;
        self.last_words().await;
        let words = self.last_failure.borrow().clone();
        let how = ended.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        if words.is_empty() { how } else { format!("{how}: {words}") }
    }

    async fn last_words(&mut self) {
        // One that was waited for must not be waited for again.
        if !self.log.is_finished() {
            drop(timeout(LAST_WORDS, &mut self.log).await);
        }
    }

    /// Ends the server: sends one signal after the other, each with its time to end.
    pub async fn shut_down(&mut self, signals: [(Signal, Duration); 2]) {
        for (signal, patience) in signals {
            let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
            // Not waited for yet, so the id is still its own.
            if let Err(error) = kill(Pid::from_raw(pid), signal) {
                tracing::debug!(pid, %error, "the signal reached nobody");
            }
            if timeout(patience, self.child.wait()).await.is_ok() {
                self.last_words().await;
                return;
            }
            tracing::warn!(server = self.name, signal = signal.as_str(), "it does not end");
        }
    }
}

/// Reads until nothing is said any more; what is no text is shown as well as it can be, for a server waits if nobody reads on.
async fn relay(output: impl AsyncRead + Unpin, mut take: impl FnMut(&str) -> Option<String>, failed: watch::Sender<String>) {
    let (mut reader, mut bytes) = (BufReader::new(output), Vec::new());
    while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(length) if length > 0) {
        let line = String::from_utf8_lossy(&bytes);
        if let Some(words) = take(line[..line.floor_char_boundary(LONGEST)].trim_end()) {
            failed.send_replace(words);
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;

    fn failure(line: &str) -> Option<String> {
        line.strip_prefix("bad: ").map(str::to_owned)
    }

    fn shell(line: &str) -> ForeignServer {
        let mut child = Command::new("sh").args(["-c", line]).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        ForeignServer::new("sh", child, output, failure)
    }

    #[tokio::test]
    async fn its_end_comes_with_its_last_failure_and_no_bytes_stop_it() {
        assert_eq!(shell("exit 3").ended().await, "exit status: 3");
        let told = shell("printf 'bad: one\\n\\377\\nbad: t\\377o\\nfine\\n'; exit 1").ended().await;
        assert_eq!(told, "exit status: 1: t\u{fffd}o");
    }

    #[tokio::test]
    async fn who_ignores_the_first_signal_gets_the_second() {
        let mut server = shell("trap '' TERM; echo bad: ready; while :; do sleep 0.05; done");
        server.last_failure.wait_for(|words| words == "ready").await.unwrap();
        server.shut_down([(Signal::SIGTERM, Duration::from_millis(200)), (Signal::SIGKILL, Duration::from_secs(10))]).await;
        assert!(server.ended().await.starts_with("signal: 9"));
    }
}
