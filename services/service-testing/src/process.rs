//! A service as a process of its own.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{eventually, get};

/// A running service; it is killed when dropped.
#[derive(Debug)]
pub struct Service {
    process: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Service {
    /// Starts `program` with exactly the given variables, ports chosen free on loopback and the fullest log.
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str], variables: &[(&str, &str)]) -> io::Result<Self> {
        let mut process = Command::new(program.as_ref())
            .args(arguments)
            .env_clear()
            .envs([("BIND_ADDRESS", "127.0.0.1"), ("HTTP_PORT", "0"), ("METRICS_PORT", "0"), ("LOG_LEVEL", "trace")])
            .env("SHUTDOWN_LAME_DUCK_SECONDS", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        if let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) {
            readers.push(collect(output, Arc::clone(&log)));
            readers.push(collect(errors, Arc::clone(&log)));
        }
        Ok(Self { process, log, readers })
    }

    /// Returns everything written so far, to standard output and standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the log's JSON lines that say `message`.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Waits until the service listens, and returns the port of `server`, as in `http`.
    ///
    /// # Errors
    /// If it does not listen within the deadline; with its log.
    pub fn port(&self, server: &str) -> io::Result<u16> {
        let listening = || {
            let events = self.events("listening");
            let event = events.iter().find(|event| event["server"] == server)?;
            event["port"].as_u64().and_then(|port| u16::try_from(port).ok())
        };
        eventually(&format!("{server} listens"), listening).map_err(|error| io::Error::other(format!("{error}\n{}", self.log())))
    }

    /// Waits until `/readyz` on the metrics port answers with `status`, and returns the answer's body.
    ///
    /// # Errors
    /// If it does not within the deadline; with its log.
    pub fn wait_for_readiness(&self, status: u16) -> io::Result<String> {
        let port = self.port("metrics")?;
        let asked = || get(port, "/readyz").ok().filter(|answer| answer.status == status).map(|answer| answer.body);
        eventually(&format!("/readyz answers {status}"), asked).map_err(|error| io::Error::other(format!("{error}\n{}", self.log())))
    }

    /// Sends SIGTERM, as Kubernetes does.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn terminate(&self) -> io::Result<()> {
        let pid = i32::try_from(self.process.id()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If it does not end within the deadline, or with another exit code than 0; with its log.
    pub fn end_in_order(&mut self) -> io::Result<()> {
        self.terminate()?;
        match self.wait()?.code() {
            Some(0) => Ok(()),
            code => Err(io::Error::other(format!("it ended with {code:?}\n{}", self.log()))),
        }
    }

    /// Waits for the end; afterwards the log is complete.
    ///
    /// # Errors
    /// If it does not end within the deadline; with its log.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = eventually("the service ends", || self.process.try_wait().transpose());
        let status = ended.map_err(|error| io::Error::other(format!("{error}\n{}", self.log())))?;
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| io::Error::other("a reader of the log panicked"))?;
        }
        status
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn collect(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    })
}
