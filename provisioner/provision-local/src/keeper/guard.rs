//! The keeper itself: starts one program, waits for it and for requests to stop, ends what is left, and writes down the end.

use std::fs;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::pid::{ProcessRef, boot};
use super::record::{ExitRecord, KeeperRecord, LaunchSpec, ProgramRecord, RunFolder, RunSpec, now};
use super::sweep::end_descendants;
use super::{KeeperError, KernelContext as _, log};
use crate::limits::Groups;

/// How long what is left may take to end after SIGKILL; only what hangs in the kernel needs longer.
const END: Duration = Duration::from_secs(10);
/// How long the log may stay open after everything has ended.
const LOG: Duration = Duration::from_secs(2);
/// A wait without a time to stop.
const LONG: Duration = Duration::from_secs(3600);

/// Keeps one run: returns when its program has ended and that is written down.
pub(super) fn run(folder: &RunFolder) -> Result<(), KeeperError> {
    let Some(spec) = folder.spec()? else {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(KeeperError::File { action: "read the run in", path: folder.path().to_owned(), source });
    };
    let keeper = lead()?;
    let signals = listen()?;
    let record = KeeperRecord { keeper, boot: boot(), begun: false };
    folder.write_keeper(&record)?;
    if !is_let_go()? {
        return Ok(());
    }
    folder.write_keeper(&KeeperRecord { begun: true, ..record })?;
    let exit = Guard { folder, spec: &spec, keeper, signals }.keep()?;
    folder.write_exit(&exit)
}

/// Becomes the leader of a session and the reaper of everything below.
pub(super) fn lead() -> Result<ProcessRef, KeeperError> {
    match setsid() {
        // It leads one already.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error).trying("lead a session"),
    }
    prctl::set_child_subreaper(true).trying("become the reaper of what is below")?;
    ProcessRef::own().ok_or(io::Error::other("/proc is not readable")).trying("find itself")
}

/// Takes signals in a thread of their own; must come before any other thread.
fn listen() -> Result<Receiver<Signal>, KeeperError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        set.add(signal);
    }
    set.thread_block().trying("hold signals back")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Says that the record is durable, and waits for the word to start; without it whoever asked has died and nobody knows of this run.
fn is_let_go() -> Result<bool, KeeperError> {
    let mut stdout = io::stdout();
    stdout.write_all(b"recorded\n").and_then(|()| stdout.flush()).trying("say that it is recorded")?;
    let mut word = [0; 1];
    Ok(io::stdin().read(&mut word).trying("wait for the word to start")? == 1)
}

/// Starts what `launch` says, by way of the launcher's role, which stays its process.
pub(super) fn start(launch: &LaunchSpec, role: &[String], output: (Stdio, Stdio)) -> Result<i32, KeeperError> {
    let text = serde_json::to_vec(launch).map_err(io::Error::other).trying("write down what to start")?;
    let mut child = Command::new("/proc/self/exe")
        .args(role)
        .arg("launch")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(output.0)
        .stderr(output.1)
        .spawn()
        .trying("start the launcher")?;
    if let Some(mut input) = child.stdin.take() {
        // A launcher that has ended already says why in another way.
        drop(input.write_all(&text));
    }
    i32::try_from(child.id()).map_err(io::Error::other).trying("start the launcher")
}

/// Collects everything that has ended; returns how `program` did, and whether nothing is left.
pub(super) fn reap(program: i32) -> (Option<WaitStatus>, bool) {
    let mut ended = None;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return (ended, false),
            Ok(status) if status.pid() == Some(Pid::from_raw(program)) => ended = Some(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return (ended, true),
        }
    }
}

/// Returns the exit code as shells have it.
pub(super) fn code(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 255,
    }
}

struct Guard<'g> {
    folder: &'g RunFolder,
    spec: &'g RunSpec,
    keeper: ProcessRef,
    signals: Receiver<Signal>,
}

impl Guard<'_> {
    fn keep(self) -> Result<ExitRecord, KeeperError> {
        let (output, input) = io::pipe().trying("make a pipe for the log")?;
        let errors = input.try_clone().trying("make a pipe for the log")?;
        let collector = self.collect(output);
        let launch = LaunchSpec { parent: self.keeper.pid, failure: Some(self.folder.failure()), ..self.spec.launch.clone() };
        let started = now();
        let program = start(&launch, &self.spec.role, (input.into(), errors.into()))?;
        if let Some(process) = ProcessRef::find(program) {
            self.folder.write_program(&ProgramRecord { program: process, started })?;
        }
        // Whoever asked may have died meanwhile and reads the record later.
        drop(io::stdout().write_all(b"started\n").and_then(|()| io::stdout().flush()));
        let status = self.wait(program);
        let groups = Groups::of(&self.spec.launch.groups);
        let (late, clean) = end_descendants(self.keeper.pid, program, &groups, END);
        let status = status.or(late);
        let end = Instant::now() + LOG;
        while !collector.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let exit = self.exit(status, started, groups.oom_kills());
        groups.remove();
        Ok(if clean { exit } else { ExitRecord { message: "some of its processes could not be ended".to_owned(), ..exit } })
    }

    fn collect(&self, output: PipeReader) -> JoinHandle<()> {
        let (path, limits) = (self.folder.log(), self.spec.log);
        std::thread::spawn(move || log::collect(output, &path, limits))
    }

    /// Waits until the program has ended; none if it has to be killed.
    fn wait(&self, program: i32) -> Option<WaitStatus> {
        let mut end: Option<Instant> = None;
        loop {
            let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
            match self.signals.recv_timeout(left) {
                Ok(Signal::SIGCHLD) => {
                    if let (Some(status), _) = reap(program) {
                        return Some(status);
                    }
                }
                Ok(Signal::SIGTERM | Signal::SIGINT) => {
                    let wanted = Instant::now() + self.grace();
                    end = Some(end.map_or(wanted, |end| end.min(wanted)));
                    if let Some(process) = ProcessRef::find(program) {
                        process.signal(Signal::from_str(&self.spec.stop_signal).unwrap_or(Signal::SIGTERM));
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if end.is_none() => {}
                Err(_) => return None,
            }
        }
    }

    fn grace(&self) -> Duration {
        let asked = self.folder.stop().ok().flatten().map(|request| request.grace_ms);
        Duration::from_millis(asked.unwrap_or(self.spec.grace_ms))
    }

    fn exit(&self, status: Option<WaitStatus>, started: Timestamp, oom_kills: u64) -> ExitRecord {
        let exit_code = status.map_or(128 + Signal::SIGKILL as i32, code);
        let failure = read_note(&self.folder.failure());
        let reason = match (&failure, exit_code) {
            (Some(_), _) => "StartError",
            (None, 0) => "Completed",
            (None, _) if oom_kills > 0 => "OOMKilled",
            (None, _) => "Error",
        };
        ExitRecord { exit_code, reason: reason.to_owned(), message: failure.unwrap_or_default(), started, finished: now() }
    }
}

/// Reads what the launcher could not do; none if it did everything.
fn read_note(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}
