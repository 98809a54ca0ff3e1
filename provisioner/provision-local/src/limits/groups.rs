//! The control groups of one run, as its keeper and its sweeper use them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::keeper::ProcessRef;

/// How long the kernel may hold on to a group after its last process ended.
const RELEASE: Duration = Duration::from_secs(2);

/// Control groups of one run: one folder in version 2, one for each controller in version 1.
#[derive(Debug, Clone)]
pub(crate) struct Groups(Vec<PathBuf>);

impl Groups {
    /// Takes the folders of a run.
    pub(crate) fn of(folders: &[PathBuf]) -> Self {
        Self(folders.to_vec())
    }

    /// Lists the processes in them that run.
    pub(crate) fn members(&self) -> Vec<ProcessRef> {
        let mut found: Vec<ProcessRef> = self.0.iter().flat_map(|folder| members(folder)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Counts the processes in them that the kernel killed because memory was used up.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.0.iter().flat_map(|folder| ["memory.events", "memory.oom_control"].map(|file| count(&folder.join(file)))).sum()
    }

    /// Removes them; one that holds a process stays.
    pub(crate) fn remove(&self) {
        for folder in &self.0 {
            let end = Instant::now() + RELEASE;
            while matches!(fs::remove_dir(folder), Err(error) if error.kind() == io::ErrorKind::ResourceBusy) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn members(folder: &Path) -> Vec<ProcessRef> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| ProcessRef::find(line.trim().parse().ok()?)).filter(|process| process.is_alive()).collect()
}

fn count(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_lack_of_memory_are_counted_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups::of(&[folder.path().to_owned()]);
        assert_eq!(groups.oom_kills(), 0);
        fs::write(folder.path().join("memory.events"), "low 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert_eq!(groups.oom_kills(), 1);
        fs::write(folder.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").unwrap();
        assert_eq!(groups.oom_kills(), 3);
    }
}
