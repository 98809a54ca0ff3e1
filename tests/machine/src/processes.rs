//! The processes of a platform, found by what they run.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Machine;

impl Machine {
    /// Lists the processes that run a program of this platform, in no other role than its own.
    pub fn processes_of(&self, program: &str) -> Vec<i32> {
        let programs = self.local().join("programs");
        let runs = |executable: &PathBuf| executable.starts_with(&programs) && executable.file_name().is_some_and(|name| name == program);
        processes().into_iter().filter(|pid| executable(*pid).as_ref().is_some_and(runs) && parent_is_keeper(*pid)).collect()
    }

    /// Returns the process of the supervisor.
    pub fn supervisor(&self) -> Option<i32> {
        let state = self.local();
        let is_ours = |pid: &i32| {
            let words = words(*pid);
            words.get(1).is_some_and(|word| word == "--supervisor") && words.get(2).is_some_and(|word| *word == *state.to_string_lossy())
        };
        processes().into_iter().find(is_ours)
    }

    /// Lists everything that belongs to this platform, by its environment, its arguments or its program.
    pub fn all_processes(&self) -> Vec<String> {
        let state = self.state().to_string_lossy().into_owned();
        let belongs = |pid: &i32| {
            words(*pid).iter().any(|word| word.contains(&state)) || executable(*pid).is_some_and(|path| path.starts_with(&state))
        };
        processes().into_iter().filter(belongs).map(|pid| format!("{pid} {}", words(pid).join(" "))).collect()
    }
}

/// Lists the processes whose words, the program's own name first, are such.
pub fn processes_with(such: impl Fn(&[String]) -> bool) -> Vec<i32> {
    processes().into_iter().filter(|pid| such(&words(*pid))).collect()
}

/// Kills a process as a power cut would.
///
/// # Panics
/// When it is not ours to kill.
pub fn kill_hard(pid: i32) {
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("process {pid} can't be killed: {error}"),
    }
}

pub(crate) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

pub(crate) fn words(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// A program that starts itself in another role is not the container's own process.
fn parent_is_keeper(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
    parent.is_some_and(|parent: i32| words(parent).get(1).is_some_and(|word| word == "--keeper"))
}
