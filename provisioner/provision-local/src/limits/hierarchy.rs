//! Finds the part of the machine's control groups that we may write, and makes groups in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Limits;

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Length of the time in which CPU is counted, in microseconds.
const PERIOD: u64 = 100_000;

/// Where our groups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// One folder with all controllers.
    Two { root: PathBuf, controllers: Vec<&'static str> },
    /// One folder for each controller.
    One(Vec<(&'static str, PathBuf)>),
}

impl Hierarchy {
    /// Finds what may be written, and makes the folder `name` in it.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::one(&mounts, &own, name).or_else(|| Self::two(&mounts, &own, name))
    }

    fn one(mounts: &str, own: &str, name: &str) -> Option<Self> {
        let made = CONTROLLERS.iter().filter_map(|controller| {
            let root = mounted(mounts, "cgroup", Some(controller))?;
            let own = own_group(own, |names| names.split(',').any(|name| name == *controller))?;
            // A mount in a container may show only a part of the tree.
            let folder = [root.join(own.trim_start_matches('/')), root].into_iter().map(|base| base.join(name)).find(|path| make(path))?;
            Some((*controller, folder))
        });
        let made: Vec<_> = made.collect();
        (!made.is_empty()).then_some(Self::One(made))
    }

    /// Goes up from our own group: a group that holds processes can't share its controllers out.
    fn two(mounts: &str, own: &str, name: &str) -> Option<Self> {
        let mount = mounted(mounts, "cgroup2", None)?;
        let own = mount.join(own_group(own, str::is_empty)?.trim_start_matches('/'));
        own.ancestors().take_while(|folder| folder.starts_with(&mount)).find_map(|parent| {
            let shared = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
            let controllers: Vec<_> =
                CONTROLLERS.into_iter().filter(|wanted| shared.split_whitespace().any(|one| one == *wanted)).collect();
            let root = parent.join(name);
            // Processes may only move where we may also write to the group above both.
            let movable = rustix::fs::access(parent.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok();
            (controllers.contains(&"memory") && movable && make(&root)).then_some(Self::Two { root, controllers })
        })
    }

    pub(super) fn version(&self) -> u8 {
        match self {
            Self::Two { .. } => 2,
            Self::One(_) => 1,
        }
    }

    pub(super) fn controllers(&self) -> Vec<&'static str> {
        match self {
            Self::Two { controllers, .. } => controllers.clone(),
            Self::One(all) => all.iter().map(|(controller, _)| *controller).collect(),
        }
    }

    /// Makes the groups of one run and writes its limits.
    pub(super) fn make(&self, run: &Path, limits: Limits, processes: u64) -> io::Result<Vec<PathBuf>> {
        match self {
            Self::Two { root, controllers } => {
                let folder = root.join(run);
                share_down(root, &folder, controllers)?;
                for controller in controllers {
                    for (file, value) in settings_two(controller, limits, processes) {
                        write(&folder.join(file), &value)?;
                    }
                }
                Ok(vec![folder])
            }
            Self::One(all) => {
                let each = all.iter().map(|(controller, root)| {
                    let folder = root.join(run);
                    fs::create_dir_all(&folder)?;
                    for (file, value) in settings_one(controller, limits, processes) {
                        write(&folder.join(file), &value)?;
                    }
                    Ok(folder)
                });
                each.collect()
            }
        }
    }

    /// Removes what is empty at and below a relative path.
    pub(super) fn remove(&self, path: &Path) {
        for root in self.roots() {
            remove_tree(&root.join(path));
        }
    }

    /// Removes our own folders if nothing is in them.
    pub(super) fn leave(&self) {
        for root in self.roots() {
            // One with groups in it stays.
            drop(fs::remove_dir(root));
        }
    }

    fn roots(&self) -> Vec<&PathBuf> {
        match self {
            Self::Two { root, .. } => vec![root],
            Self::One(all) => all.iter().map(|(_, root)| root).collect(),
        }
    }
}

/// Makes the folders from `root` down to `folder`, each sharing its controllers with what is below.
fn share_down(root: &Path, folder: &Path, controllers: &[&str]) -> io::Result<()> {
    let shared: Vec<String> = controllers.iter().map(|controller| format!("+{controller}")).collect();
    let mut path = root.to_owned();
    // An earlier supervisor may have removed it when it was empty.
    make(&path);
    for part in folder.strip_prefix(root).map_err(io::Error::other)?.components() {
        write(&path.join("cgroup.subtree_control"), &shared.join(" "))?;
        path.push(part);
        if !make(&path) {
            return Err(io::Error::other(format!("the control group {} can't be made", path.display())));
        }
    }
    Ok(())
}

fn settings_two(controller: &str, limits: Limits, processes: u64) -> Vec<(&'static str, String)> {
    match (controller, limits.memory, limits.cpu) {
        // Without swap: what is over the limit ends as it does on a cluster.
        ("memory", Some(bytes), _) => vec![("memory.max", bytes.to_string()), ("memory.swap.max", "0".to_owned())],
        ("cpu", _, Some(thousandths)) => vec![("cpu.max", format!("{} {PERIOD}", quota(thousandths)))],
        ("pids", _, _) => vec![("pids.max", processes.to_string())],
        _ => Vec::new(),
    }
}

fn settings_one(controller: &str, limits: Limits, processes: u64) -> Vec<(&'static str, String)> {
    match (controller, limits.memory, limits.cpu) {
        ("memory", Some(bytes), _) => {
            vec![("memory.limit_in_bytes", bytes.to_string()), ("memory.memsw.limit_in_bytes", bytes.to_string())]
        }
        ("cpu", _, Some(thousandths)) => {
            vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota(thousandths).to_string())]
        }
        ("pids", _, _) => vec![("pids.max", processes.to_string())],
        _ => Vec::new(),
    }
}

/// Returns the microseconds in each period; the kernel takes no less than a thousand.
fn quota(thousandths: u64) -> u64 {
    (thousandths * PERIOD / 1000).max(1000)
}

/// Writes a file that a kernel may not have: those of swap are optional.
fn write(file: &Path, value: &str) -> io::Result<()> {
    let optional = file.to_string_lossy().contains("sw");
    match fs::write(file, value) {
        Err(error) if optional && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        result => result,
    }
}

fn make(folder: &Path) -> bool {
    match fs::create_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
    }
}

fn remove_tree(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    // One that still holds a process stays, and is tried again with the next run.
    drop(fs::remove_dir(folder));
}

fn mounted(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, found, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = controller.is_none_or(|controller| options.split(',').any(|option| option == controller));
        (found == kind && has).then(|| PathBuf::from(path))
    })
}

/// Returns our group in the hierarchy whose list of controllers is the wanted one.
fn own_group(own: &str, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        is_wanted(names).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory: Some(1 << 20), cpu: Some(500) };

    #[test]
    fn version_2_shares_controllers_down_to_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("ours");
        fs::create_dir(&root).unwrap();
        let hierarchy = Hierarchy::Two { root: root.clone(), controllers: vec!["cpu", "memory"] };
        let groups = hierarchy.make(Path::new("pod/app-0"), LIMITS, 10).unwrap();
        assert_eq!(groups, [root.join("pod/app-0")]);
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        assert_eq!(read("cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(read("pod/cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(read("pod/app-0/cgroup.subtree_control"), "");
        assert_eq!(read("pod/app-0/memory.max"), "1048576");
        assert_eq!(read("pod/app-0/cpu.max"), "50000 100000");
        assert_eq!(read("pod/app-0/pids.max"), "", "the controller is not there");
    }

    #[test]
    fn our_place_is_read_from_the_kernels_files() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";
        assert_eq!(mounted(mounts, "cgroup", Some("cpu")), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(mounted(mounts, "cgroup", Some("memory")), None);
        assert_eq!(mounted(mounts, "cgroup2", None), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let own = "4:cpu,cpuacct:/a\n3:memory:/b:c\n0::/d\n";
        assert_eq!(own_group(own, |names| names.split(',').any(|name| name == "cpu")), Some("/a"));
        assert_eq!(own_group(own, |names| names == "memory"), Some("/b:c"));
        assert_eq!(own_group(own, str::is_empty), Some("/d"));
    }

    #[test]
    fn a_machine_without_controllers_has_no_hierarchy() {
        assert_eq!(Hierarchy::one("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/\n", "x"), None);
        assert_eq!(Hierarchy::two("tmpfs /sys tmpfs rw 0 0\n", "0::/\n", "x"), None);
    }
}
