//! What a platform costs: memory and processor time of all its processes, whoever they run as.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::Machine;
use crate::processes::{processes, words};

/// Ticks in a second of `/proc/PID/stat`: `USER_HZ`, the same on all of Linux' architectures that this runs on.
const TICKS: u32 = 100;

impl Machine {
    /// Returns the proportional set size of all processes of the platform, in bytes: memory that some share is counted once.
    pub fn memory(&self) -> u64 {
        self.family().into_iter().map(proportional).sum()
    }

    /// Returns the processor time that all processes of the platform that still run, and their ended children, took.
    pub fn cpu_time(&self) -> Duration {
        let ticks: u32 = self.family().into_iter().filter_map(ticks).sum();
        Duration::from_secs(1) * ticks / TICKS
    }

    /// Lists the processes that name the state folder, and all their children, down to the last.
    fn family(&self) -> Vec<i32> {
        let state = self.state().to_string_lossy().into_owned();
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let mut open = Vec::new();
        for pid in processes() {
            if let Some(parent) = numbers(pid).and_then(|numbers| i32::try_from(*numbers.get(1)?).ok()) {
                children.entry(parent).or_default().push(pid);
            }
            if words(pid).iter().any(|word| word.contains(&state)) {
                open.push(pid);
            }
        }
        let mut family = Vec::new();
        while let Some(pid) = open.pop() {
            if !family.contains(&pid) {
                family.push(pid);
                open.extend(children.get(&pid).into_iter().flatten());
            }
        }
        family
    }
}

/// Returns the fields of `/proc/PID/stat` after the name, the state as 0.
fn numbers(pid: i32) -> Option<Vec<i64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect())
}

/// Returns `utime`, `stime`, `cutime` and `cstime` together (proc(5), fields 14 to 17).
fn ticks(pid: i32) -> Option<u32> {
    let sum: i64 = numbers(pid)?.get(11..15)?.iter().sum();
    u32::try_from(sum).ok()
}

fn proportional(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kibibytes| kibibytes * 1024)
}
