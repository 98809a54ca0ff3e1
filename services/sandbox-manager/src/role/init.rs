//! First process of a sandbox: starts the command, takes in orphans, ends everything.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::{ENTER, SELF, failed, network, root, socket};
use crate::plan::{Mode, Order, Plan, Report, WORKSPACE, send};
use crate::procs;

/// Time between asking a command to end and killing it.
const GRACE: Duration = Duration::from_secs(2);
/// Longest time that killing may take; a process in the kernel's hands may hold out.
const LAST: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// Sets the sandbox up, runs the command in it and ends what is left.
pub(super) fn run() -> ExitCode {
    let Ok(socket) = socket() else { return ExitCode::FAILURE };
    match live(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            send(&socket, &Report::Failed { what });
            ExitCode::FAILURE
        }
    }
}

fn live(socket: &UnixStream) -> Result<(), String> {
    let plan = Plan::from_environment().map_err(failed("no plan"))?;
    let (isolation, program, folder) = set_up(&plan)?;
    send(socket, &Report::Ready { isolation });
    if plan.command.is_empty() {
        return Ok(());
    }
    let mut enter = Command::new(program);
    enter.arg(ENTER).current_dir(folder).stdin(Stdio::null());
    let child = enter.spawn().map_err(failed("failed to start the command"))?;
    let child = i32::try_from(child.id()).map(Pid::from_raw).map_err(failed("failed to start the command"))?;
    let ears = socket.try_clone().map_err(failed("failed to use the socket"))?;
    let mode = plan.mode;
    std::thread::spawn(move || obey(ears, mode));
    let code = reap_until(child);
    if mode == Mode::Bare {
        end_descendants();
    }
    // In a namespace the rest ends with this process, before anybody sees its end.
    send(socket, &Report::Ended { code });
    Ok(())
}

/// Makes the view that the command gets; returns what holds it, the program for the next role, and the folder to start in.
fn set_up(plan: &Plan) -> Result<(Vec<String>, PathBuf, PathBuf), String> {
    let mut isolation: Vec<&str> = Vec::new();
    if plan.mode == Mode::Bare {
        set_child_subreaper(true).map_err(failed("failed to take in orphans"))?;
        let program = std::env::current_exe().map_err(failed("failed to find the program"))?;
        isolation.extend(plan.user.map(|_| "uid"));
        return Ok((named(&isolation), program, plan.folder.join(WORKSPACE)));
    }
    isolation.extend(["network", "pid", "mount", "ipc", "uts"]);
    network::raise_loopback().map_err(failed("failed to set up the network"))?;
    // A name tells nothing of the machine; without it all works as well.
    drop(std::fs::write("/proc/sys/kernel/hostname", "sandbox"));
    let has_proc = root::enter(plan)?;
    isolation.extend(has_proc.then_some("proc"));
    isolation.extend((plan.mode == Mode::User).then_some("user"));
    isolation.extend((plan.user.is_some() || plan.mode == Mode::User && has_proc).then_some("uid"));
    Ok((named(&isolation), PathBuf::from(SELF), PathBuf::from("/").join(WORKSPACE)))
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Takes in whatever ends, until the command has; returns its exit code.
pub(super) fn reap_until(child: Pid) -> i32 {
    loop {
        match waitpid(Pid::from_raw(-1), None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 128 + Signal::SIGKILL as i32,
        }
    }
}

/// Does what the manager says; ends everything at once when the manager is gone.
fn obey(mut socket: UnixStream, mode: Mode) {
    let mut byte = [0];
    loop {
        match socket.read(&mut byte).ok().filter(|read| *read > 0).and_then(|_| Order::of(byte[0])) {
            Some(Order::Terminate) => {
                strike(mode, Signal::SIGTERM);
                std::thread::sleep(GRACE);
                strike(mode, Signal::SIGKILL);
            }
            Some(Order::Kill) => strike(mode, Signal::SIGKILL),
            None => {
                if mode == Mode::Bare {
                    end_descendants();
                }
                std::process::exit(1);
            }
        }
    }
}

fn strike(mode: Mode, signal: Signal) {
    if mode == Mode::Bare {
        let below = procs::descendants(getpid().as_raw());
        below.iter().for_each(|stat| stat.process.signal(signal));
        if signal == Signal::SIGKILL {
            end_descendants();
        }
    } else {
        // All in the namespace but this process; fails only if there is none.
        kill(Pid::from_raw(-1), signal).ok();
    }
}

/// Kills what is below this process, again and again: it may start others meanwhile. Stopped first, they don't.
fn end_descendants() {
    let end = Instant::now() + LAST;
    while Instant::now() < end {
        let below = procs::descendants(getpid().as_raw());
        if below.is_empty() {
            return;
        }
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            below.iter().for_each(|stat| stat.process.signal(signal));
        }
        std::thread::sleep(PAUSE);
    }
}
