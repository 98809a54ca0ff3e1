//! Processes as the kernel shows them in `/proc`; known by id *and* start time, because ids are used again.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Time between two looks at a process where the kernel can't tell of its end.
const LOOK: Duration = Duration::from_millis(200);

/// One process; never another one that got its id later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessRef {
    /// Id.
    pub(crate) pid: i32,
    /// Start time in clock ticks since the machine started (field 22 of `/proc/<pid>/stat`).
    pub(crate) started: u64,
}

/// The fields of `/proc/<pid>/stat` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// State: `Z` has ended.
    pub(crate) state: char,
    /// Parent.
    pub(crate) parent: i32,
    /// Session.
    pub(crate) session: i32,
    /// Which process.
    pub(crate) process: ProcessRef,
}

impl Stat {
    /// Reads what the kernel says of `pid`; none if there is no such process.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads one line; the second field is the program's name in brackets and may itself hold blanks and brackets.
    fn parse(pid: i32, line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, session, process: ProcessRef { pid, started } })
    }

    /// Tells whether the process has ended, even if nobody has collected it.
    pub(crate) fn has_ended(&self) -> bool {
        match self.state {
            'X' => true,
            // Its first thread has ended; others may go on.
            'Z' => fs::read_dir(format!("/proc/{}/task", self.process.pid)).map_or(true, |threads| threads.count() <= 1),
            _ => false,
        }
    }
}

impl ProcessRef {
    /// Finds the process that has the id now, also one that has ended and was not collected.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.process)
    }

    /// Finds the process that reads this.
    pub(crate) fn own() -> Option<Self> {
        Self::find(Pid::this().as_raw())
    }

    /// Tells whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.process == self && !stat.has_ended())
    }

    /// Opens a descriptor of exactly this process, readable when it has ended; none if it has.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(rustix::process::Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // The descriptor stays with whatever had the id when it was opened.
        self.is_alive().then_some(descriptor)
    }

    /// Waits until it has ended, whether or not anybody collects it.
    pub(crate) async fn ended(self) {
        while self.is_alive() {
            match self.open().map(watched) {
                // Readable means that the process has ended.
                Some(Ok(descriptor)) => drop(descriptor.readable().await.map(|mut guard| guard.retain_ready())),
                Some(Err(_)) => sleep(LOOK).await,
                None => {}
            }
        }
    }

    /// Sends a signal to exactly this process; one that has ended is left alone.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may have ended meanwhile; its id is not given away within that time.
            match kill(Pid::from_raw(self.pid), signal) {
                Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
                Err(error) => tracing::debug!(pid = self.pid, %error, "a signal could not be sent"),
            }
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, and asks only that the descriptor stays the same and open: an `OwnedFd` does")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Lists all processes of the machine.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter_map(Stat::read).collect()
}

/// Lists what runs below a process, at any depth.
pub(crate) fn descendants(of: i32) -> Vec<ProcessRef> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    for stat in all() {
        children.entry(stat.parent).or_default().push(stat);
    }
    let (mut found, mut open) = (Vec::new(), vec![of]);
    while let Some(parent) = open.pop() {
        for stat in children.remove(&parent).unwrap_or_default() {
            open.push(stat.process.pid);
            if !stat.has_ended() {
                found.push(stat.process);
            }
        }
    }
    found
}

/// Returns what the kernel calls this start of the machine; start times of other ones mean nothing.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_last_bracket() {
        let line = "4242 (a) b (c) S 17 4240 4241 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let process = ProcessRef { pid: 4242, started: 987_654 };
        assert_eq!(Stat::parse(4242, line), Some(Stat { state: 'S', parent: 17, session: 4241, process }));
        assert_eq!(Stat::parse(4242, "4242 (sh"), None);
    }

    #[test]
    fn a_process_with_another_start_time_is_another_one() {
        let me = ProcessRef::own().unwrap();
        assert!(me.is_alive());
        assert!(me.open().is_some());
        let other = ProcessRef { started: me.started + 1, ..me };
        assert!(!other.is_alive());
        assert!(other.open().is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_waited_for_also_when_nobody_collects_it() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = ProcessRef::find(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), process.ended()).await.is_err(), "it still runs");
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(10), process.ended()).await.unwrap();
        child.wait().unwrap();
    }
}
