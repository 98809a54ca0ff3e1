//! Processes as the kernel shows them in `/proc`.
//!
//! A process is known by its id *and* its start time, because ids are used again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{FileContext, LabError};
use crate::region::write_new;

/// One process; never another one that got its id later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessRef {
    /// Id in the name space of this machine's `/proc`.
    pub pid: i32,
    /// Start time in clock ticks since the machine started.
    pub started: u64,
}

impl ProcessRef {
    /// The process that has the id `pid` now; one that has wholly ended is none, even if nobody has collected it.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let stat = Stat::parse(&stat)?;
        let ended = match stat.state {
            'X' => true,
            // Its first thread has ended. The last one of a region's first process still ends all others of the region.
            'Z' => fs::read_dir(format!("/proc/{pid}/task")).map_or(true, |threads| threads.count() <= 1),
            _ => false,
        };
        (!ended).then_some(Self { pid, started: stat.started })
    }

    /// Reads a process from a file that [`ProcessRef::save`] wrote; `None` if there is none or it has ended.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let saved = Self { pid: pid.parse().ok()?, started: started.parse().ok()? };
        saved.is_alive().then_some(saved)
    }

    /// Writes the process to a file.
    ///
    /// # Errors
    /// [`LabError::File`] if it can't be written.
    pub fn save(self, path: &Path) -> Result<(), LabError> {
        write_new(path, format!("{} {}\n", self.pid, self.started).as_bytes())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Ends the process at once, like a power cut, and waits until it is gone.
    ///
    /// # Errors
    /// [`LabError::Kernel`] if it can't be killed; [`LabError::Deadline`] if it stays for ten seconds.
    pub fn kill(self, what: &str, logs: &Path) -> Result<(), LabError> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(source) => return Err(LabError::Kernel { action: format!("kill {what}"), source }),
        }
        poll(Duration::from_secs(10), || !self.is_alive()).ok_or_else(|| LabError::Deadline {
            what: format!("{what} was not gone"),
            seconds: 10,
            logs: logs.to_owned(),
        })
    }

    /// Its children that run.
    #[must_use]
    pub fn children(self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::read_to_string(format!("/proc/{pid}/stat"))
                    .ok()
                    .and_then(|text| Stat::parse(&text))
                    .is_some_and(|stat| stat.parent == self.pid)
            })
            .filter_map(Self::find)
            .collect()
    }

    /// Its id in the innermost pid namespace that it is in.
    #[must_use]
    pub fn inner_pid(self) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        ids.split_whitespace().next_back()?.parse().ok()
    }
}

/// Asks every 50 ms until `met` says yes; `None` after `limit`.
pub(crate) fn poll(limit: Duration, mut met: impl FnMut() -> bool) -> Option<()> {
    let end = Instant::now() + limit;
    loop {
        if met() {
            return Some(());
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fields of `/proc/<pid>/stat` that tell processes apart.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    /// Reads one line; the second field is the program's name in brackets and may itself hold blanks and brackets.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { state, parent, started })
    }
}

/// The process that reads this, as the mounted `/proc` knows it.
///
/// Before a region's first process mounts its own `/proc` this is its id outside of the region.
pub(crate) fn own() -> Result<ProcessRef, LabError> {
    let link = fs::read_link("/proc/self").on("read", "/proc/self")?;
    link.to_str().and_then(|text| text.parse().ok()).and_then(ProcessRef::find).ok_or(LabError::NoProcess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_last_bracket() {
        let line = "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(Stat::parse(line), Some(Stat { state: 'S', parent: 17, started: 987_654 }));
        assert_eq!(Stat::parse("4242 (sh"), None);
    }

    #[test]
    fn a_leftover_is_only_a_process_with_the_same_start_time() -> Result<(), LabError> {
        let folder = tempfile::tempdir().on("create", "a temporary folder")?;
        let path = folder.path().join("region.pid");
        let me = own()?;
        me.save(&path)?;
        assert_eq!(ProcessRef::load(&path), Some(me));
        ProcessRef { started: me.started + 1, ..me }.save(&path)?;
        assert_eq!(ProcessRef::load(&path), None, "the id was used again by another process");
        write_new(&path, b"garbage")?;
        assert_eq!(ProcessRef::load(&path), None);
        Ok(())
    }

    #[test]
    fn a_killed_process_is_gone_when_kill_returns() -> Result<(), Box<dyn std::error::Error>> {
        let mut child = std::process::Command::new("sleep").arg("600").spawn()?;
        let process = ProcessRef::find(i32::try_from(child.id())?).ok_or("the child does not run")?;
        assert!(own()?.children().contains(&process));
        process.kill("sleep", Path::new("/"))?;
        assert!(!process.is_alive());
        child.wait()?;
        process.kill("sleep", Path::new("/"))?;
        Ok(())
    }
}
