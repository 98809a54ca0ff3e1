//! Ends everything that belongs to a run.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::RUN_VARIABLE;
use super::guard::reap;
use super::pid::{self, ProcessRef};
use super::record::{KeeperRecord, RunSpec};
use crate::limits::Groups;

const PAUSE: Duration = Duration::from_millis(2);

/// Ends everything below a keeper; returns how its program ended if it was still running, and whether nothing is left.
pub(super) fn end_descendants(keeper: i32, program: i32, groups: &Groups, limit: Duration) -> (Option<WaitStatus>, bool) {
    let end = Instant::now() + limit;
    let (mut round, mut ended) = (Round::default(), None);
    loop {
        let (status, empty) = reap(program);
        ended = ended.or(status);
        let mut found: BTreeSet<ProcessRef> = pid::descendants(keeper).into_iter().collect();
        found.extend(groups.members());
        if empty && found.is_empty() {
            return (ended, true);
        }
        if Instant::now() >= end {
            return (ended, false);
        }
        round.strike(found);
        std::thread::sleep(PAUSE);
    }
}

/// Ends what is left of a run whose keeper was killed; tells whether nothing is left.
pub(crate) fn end_remains(spec: &RunSpec, record: &KeeperRecord, limit: Duration) -> bool {
    let groups = Groups::of(&spec.launch.groups);
    let end = Instant::now() + limit;
    let mut round = Round::default();
    loop {
        let found = remains(spec, record, &groups);
        if found.is_empty() {
            groups.remove();
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        round.strike(found);
        std::thread::sleep(PAUSE);
    }
}

/// Finds what a run started: by its control group, by the variable that it hands down, and by its session.
fn remains(spec: &RunSpec, record: &KeeperRecord, groups: &Groups) -> BTreeSet<ProcessRef> {
    let mut found: BTreeSet<ProcessRef> = groups.members().into_iter().collect();
    if record.boot != pid::boot() {
        return found;
    }
    let marker = format!("{RUN_VARIABLE}={}", spec.run).into_bytes();
    let leader = ProcessRef::find(record.keeper.pid);
    // As long as a session has members its id is given to nobody else.
    let session = leader.is_none_or(|leader| leader == record.keeper).then_some(record.keeper.pid);
    for stat in pid::all() {
        let newer = stat.process.started >= record.keeper.started;
        let of_session = session == Some(stat.session) && newer;
        if !stat.has_ended() && newer && stat.process != record.keeper && (of_session || carries(stat.process.pid, &marker)) {
            found.insert(stat.process);
        }
    }
    found
}

fn carries(pid: i32, marker: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|byte| *byte == 0).any(|entry| entry == marker))
}

/// Stops what is new before it kills anything: what is killed makes room for what forks.
#[derive(Default)]
struct Round {
    known: BTreeSet<ProcessRef>,
}

impl Round {
    fn strike(&mut self, found: BTreeSet<ProcessRef>) {
        let new: Vec<_> = found.difference(&self.known).copied().collect();
        let (targets, signal) = if new.is_empty() { (found.iter().copied().collect(), Signal::SIGKILL) } else { (new, Signal::SIGSTOP) };
        for process in targets {
            process.signal(signal);
        }
        self.known = found;
    }
}
