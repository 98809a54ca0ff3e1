//! The machine's processes, as `/proc` shows them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process that can't be taken for a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRef {
    /// Its id.
    pub(crate) pid: i32,
    /// When it started, in ticks since the boot.
    pub(crate) started: u64,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Which.
    pub(crate) process: ProcessRef,
    /// Id of its parent.
    pub(crate) parent: i32,
    /// Whether it has ended and only waits for its parent.
    pub(crate) ended: bool,
    /// Memory that it holds, in pages.
    pub(crate) pages: u64,
}

impl ProcessRef {
    /// Finds a process that runs.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (!stat.ended).then_some(stat.process)
    }

    /// Tells whether it still runs.
    pub(crate) fn runs(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn signal(self, signal: Signal) {
        if self.runs() {
            // Fails only if it ended just now.
            kill(Pid::from_raw(self.pid), signal).ok();
        }
    }
}

/// Returns what identifies this boot of the machine.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns all processes.
pub(crate) fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Returns the processes below `root`, which is not among them, that have not ended.
pub(crate) fn descendants(root: i32) -> Vec<Stat> {
    let all = all();
    let (mut found, mut parents) = (Vec::new(), vec![root]);
    while let Some(parent) = parents.pop() {
        for stat in all.iter().filter(|stat| stat.parent == parent) {
            parents.push(stat.process.pid);
            if !stat.ended {
                found.push(*stat);
            }
        }
    }
    found
}

/// Returns how many threads a user has.
pub(crate) fn threads_of(user: u32) -> u64 {
    let of_user = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.uid() == user);
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let counts = folders.filter(|path| of_user(path)).map(|path| fs::read_dir(path.join("task")).map_or(0, Iterator::count));
    counts.sum::<usize>() as u64
}

fn stat(pid: i32) -> Option<Stat> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat`; the name in it may hold anything, so that the fields are counted from its end.
fn parse(pid: i32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        process: ProcessRef { pid, started: number(19)? },
        parent: i32::try_from(number(1)?).ok()?,
        ended: ["Z", "X"].contains(fields.first()?),
        pages: number(21)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_with_anything_in_it_does_not_move_the_fields() {
        let text = "7 (a) Z 1 (b) S 5 7 7 0 -1 4 0 0 0 0 1 2 0 0 20 0 1 0 4242 1000 33 184 1 1";
        let stat = parse(7, text).unwrap();
        assert_eq!(stat, Stat { process: ProcessRef { pid: 7, started: 4242 }, parent: 5, ended: false, pages: 33 });
    }

    #[test]
    fn this_process_is_found_below_its_parent() {
        let own = ProcessRef::find(nix::unistd::getpid().as_raw()).unwrap();
        assert!(own.runs());
        assert!(!ProcessRef { started: own.started + 1, ..own }.runs());
        let below = descendants(nix::unistd::getppid().as_raw());
        assert!(below.iter().any(|stat| stat.process == own && stat.pages > 0));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            parse(1, &text);
        }
    }
}
