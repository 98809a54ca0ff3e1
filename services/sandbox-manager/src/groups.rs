//! Control groups: the part of the machine's hierarchy that may be written, and one group for each sandbox.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::spec::Limits;

/// What is held by control groups, if they are there.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Length of the time in which CPU is counted, in microseconds.
const PERIOD: u32 = 100_000;
/// Longest time that ending a group may take.
const LAST: Duration = Duration::from_secs(20);
/// How often a group is tried to be made.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// Where groups may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Version 1: a folder for each controller.
    One(Vec<(&'static str, PathBuf)>),
    /// Version 2: one folder, with the controllers that it shares out.
    Two(PathBuf, Vec<&'static str>),
    /// None.
    Nowhere,
}

impl Hierarchy {
    /// Finds where a folder `name` can be made.
    pub(crate) fn find(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let one: Vec<_> =
            CONTROLLERS.iter().filter_map(|controller| Some((*controller, find_one(&mounts, &own, (controller, name))?))).collect();
        if !one.is_empty() {
            return Self::One(one);
        }
        find_two(&mounts, &own, name).unwrap_or(Self::Nowhere)
    }

    /// Returns what it holds.
    pub(crate) fn controllers(&self) -> Vec<&'static str> {
        match self {
            Self::One(all) => all.iter().map(|(controller, _)| *controller).collect(),
            Self::Two(_, controllers) => controllers.clone(),
            Self::Nowhere => Vec::new(),
        }
    }

    /// Returns the groups of a sandbox, whether they are there or not.
    pub(crate) fn groups(&self, id: &str) -> Vec<PathBuf> {
        match self {
            Self::One(all) => all.iter().map(|(_, folder)| folder.join(id)).collect(),
            Self::Two(folder, _) => vec![folder.join(id)],
            Self::Nowhere => Vec::new(),
        }
    }

    /// Makes the groups of a sandbox.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn make(&self, id: &str, limits: &Limits) -> io::Result<()> {
        for folder in self.groups(id) {
            self.make_folder(&folder)?;
            for (file, value) in settings(limits) {
                // Each group has the files of its own controllers only.
                if folder.join(file).exists() {
                    fs::write(folder.join(file), value)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a group and the folder that it is in, which another sandbox's end may remove at any time.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut tries = 0;
        loop {
            let made = match (self, folder.parent()) {
                (Self::Two(_, controllers), Some(parent)) => share(parent, controllers).and_then(|()| fs::create_dir(folder)),
                _ => fs::create_dir_all(folder),
            };
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                made => return made,
            }
        }
    }
}

/// Makes a folder of version 2 that shares its controllers with what is below.
fn share(folder: &Path, controllers: &[&str]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let all: Vec<String> = controllers.iter().map(|controller| format!("+{controller}")).collect();
    fs::write(folder.join("cgroup.subtree_control"), all.join(" "))
}

fn settings(limits: &Limits) -> Vec<(&'static str, String)> {
    let memory = (u64::from(limits.memory_mib) << 20).to_string();
    let quota = (limits.cpus * f64::from(PERIOD)).round().max(1000.0).to_string();
    vec![
        ("memory.limit_in_bytes", memory.clone()),
        // No swap: it would make the limit a matter of time.
        ("memory.memsw.limit_in_bytes", memory.clone()),
        ("memory.max", memory),
        ("memory.swap.max", "0".to_owned()),
        ("pids.max", limits.processes.to_string()),
        ("cpu.cfs_period_us", PERIOD.to_string()),
        ("cpu.cfs_quota_us", quota.clone()),
        ("cpu.max", format!("{quota} {PERIOD}")),
    ]
}

fn find_one(mounts: &str, own: &str, (controller, name): (&str, &str)) -> Option<PathBuf> {
    let mount = mounted(mounts, "cgroup", Some(controller))?;
    let own = own_group(own, |names| names.split(',').any(|name| name == controller))?;
    // A container's mount may show only a part of the tree.
    [mount.join(own.trim_start_matches('/')), mount].into_iter().map(|parent| parent.join(name)).find(|folder| can_be_made(folder))
}

/// Goes up from this program's own group: one that holds processes can't share its controllers out.
fn find_two(mounts: &str, own: &str, name: &str) -> Option<Hierarchy> {
    let mount = mounted(mounts, "cgroup2", None)?;
    let own = mount.join(own_group(own, str::is_empty)?.trim_start_matches('/'));
    own.ancestors().take_while(|folder| folder.starts_with(&mount)).find_map(|parent| {
        let shared = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
        let controllers: Vec<_> = CONTROLLERS.into_iter().filter(|wanted| shared.split_whitespace().any(|one| one == *wanted)).collect();
        let folder = parent.join(name);
        let usable = !controllers.is_empty() && share(&folder, &controllers).is_ok();
        // Made again with the first sandbox; without any, nothing of ours is there.
        drop(fs::remove_dir(&folder));
        usable.then_some(Hierarchy::Two(folder, controllers))
    })
}

/// Tells whether a folder can be made; it is made again with the first sandbox.
fn can_be_made(folder: &Path) -> bool {
    let made = fs::create_dir_all(folder).is_ok();
    drop(fs::remove_dir(folder));
    made
}

fn mounted(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, found, options, ..] = fields[..] else { return None };
        let has = controller.is_none_or(|controller| options.split(',').any(|option| option == controller));
        (found == kind && has).then(|| PathBuf::from(point))
    })
}

fn own_group(own: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        is_it(controllers).then_some(path)
    })
}

/// Returns how often the kernel killed a process of these groups because of their memory.
pub(crate) fn oom_kills(groups: &[PathBuf]) -> u64 {
    let count = |group: &PathBuf| {
        let files = ["memory.oom_control", "memory.events"].iter().filter_map(|file| fs::read_to_string(group.join(file)).ok());
        files.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())).sum::<u64>()
    };
    groups.iter().map(count).sum()
}

/// Ends all processes of groups and removes these; returns whether they are gone.
pub(crate) fn remove(groups: &[PathBuf]) -> bool {
    let end = Instant::now() + LAST;
    loop {
        let members: Vec<i32> = groups.iter().flat_map(|group| members(group)).collect();
        for pid in &members {
            // Fails only if it ended just now.
            kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
        }
        for group in groups {
            // The folder above goes with the last one.
            let removed = fs::remove_dir(group).and_then(|()| group.parent().map_or(Ok(()), fs::remove_dir));
            drop(removed);
        }
        if !groups.iter().any(|group| group.exists()) {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process that this namespace does not see; as a target it would be our own group.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_ours_is_found_in_the_kernels_tables() {
        let mounts = "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mounted(mounts, "cgroup", Some("memory")), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(mounted(mounts, "cgroup", Some("pids")), None);
        assert_eq!(mounted(mounts, "cgroup2", None), Some("/sys/fs/cgroup/unified".into()));
        let own = "8:pids:/\n4:cpu,memory:/a:b\n0::/x\n";
        assert_eq!(own_group(own, |names| names.split(',').any(|name| name == "memory")), Some("/a:b"));
        assert_eq!(own_group(own, str::is_empty), Some("/x"));
    }

    #[test]
    fn kills_are_counted_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        for group in [&one, &two] {
            fs::create_dir(group).unwrap();
        }
        fs::write(one.join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").unwrap();
        fs::write(two.join("memory.events"), "low 0\noom 5\noom_kill 3\noom_group_kill 0\n").unwrap();
        assert_eq!(oom_kills(&[one, two]), 5);
    }
}
