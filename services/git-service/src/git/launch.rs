//! The role between the service and `git`: git and all that it starts end with the service, or with git.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::askpass;

/// First argument of the program in this role; then the size of the largest file in bytes, a file for standard input, git's arguments.
pub(crate) const ROLE: &str = "launch";

const FAILED: u8 = 127;

/// Runs git to its end, and ends everything in its process group then, or when standard input closes.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let size = arguments.next().and_then(|size| size.to_str()?.parse().ok());
    let (Some(size), Some(input)) = (size, arguments.next()) else { return complain("its arguments are incomplete") };
    let limited = setrlimit(Resource::RLIMIT_FSIZE, size, size).and_then(|()| setrlimit(Resource::RLIMIT_CORE, 0, 0));
    if let Err(error) = limited {
        return complain(&format!("its limits can't be set: {error}"));
    }
    // Orphans of git come to this process.
    if let Err(error) = set_child_subreaper(true) {
        return complain(&format!("orphans of git can't be taken in: {error}"));
    }
    let input = match File::open(&input) {
        Ok(input) => input,
        Err(error) => return complain(&format!("its input can't be opened: {error}")),
    };
    let spawned = Command::new("git").args(arguments).stdin(input).process_group(0).spawn();
    let group = spawned.and_then(|child| i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other));
    let group = match group {
        Ok(group) => group,
        Err(error) => return complain(&format!("git can't be started; is it installed? {error}")),
    };
    std::thread::spawn(move || end_with_input(group));
    // Git is left unreaped: as long as it is, its id, which is its group's, is given to nobody else.
    let ended = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    // What it started and did not wait for would keep the pipes open.
    killpg(group, Signal::SIGKILL).ok();
    take_in(group);
    match ended {
        Ok(WaitStatus::Exited(_, code)) => ExitCode::from(u8::try_from(code).unwrap_or(FAILED)),
        Ok(WaitStatus::Signaled(_, signal, _)) => ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(FAILED)),
        _ => complain("git's end is not known"),
    }
}

/// Waits for git and for what it left behind: in a container the service is the first process, and takes in nobody.
fn take_in(group: Pid) {
    let all = Pid::from_raw(-group.as_raw());
    while !matches!(waitpid(all, None), Err(error) if error != Errno::EINTR) {}
}

fn end_with_input(group: Pid) {
    // Nothing is ever written: the end of the stream, or its failure, is the message.
    drop(io::copy(&mut io::stdin().take(1), &mut io::sink()));
    killpg(group, Signal::SIGKILL).ok();
}

fn complain(problem: &str) -> ExitCode {
    askpass::complain(&format!("fatal: the launcher of git failed: {problem}\n"));
    ExitCode::from(FAILED)
}
