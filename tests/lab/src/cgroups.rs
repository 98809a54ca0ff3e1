//! The region's cgroup in every hierarchy: made before the kubelet starts, removed after the region ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{FileContext, LabError};
use crate::os_process::poll;
use crate::region::Region;

/// Makes the region's cgroup in every hierarchy of this machine.
pub(crate) fn create(region: &Region) -> Result<(), LabError> {
    let name = region.cgroup()?;
    for root in hierarchies(&mounts()?) {
        let folder = root.join(&name);
        fs::create_dir_all(&folder).on("create", &folder)?;
        // A new cpuset has no processor and no memory node until it is given some.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if root.join(file).exists() {
                let value = fs::read_to_string(root.join(file)).on("read", root.join(file))?;
                fs::write(folder.join(file), value.trim()).on("write", folder.join(file))?;
            }
        }
    }
    Ok(())
}

/// Removes the region's cgroups with all below them; they must hold no process that stays.
pub(crate) fn remove(region: &Region) -> Result<(), LabError> {
    let name = region.cgroup()?;
    for root in all_hierarchies(&mounts()?) {
        let folder = root.join(&name);
        let mut last = Ok(());
        // The kernel lets go of a cgroup a moment after its last process ended.
        let gone = poll(Duration::from_secs(10), || {
            last = remove_tree(&folder);
            last.is_ok()
        });
        if gone.is_none() {
            last.on("remove", &folder)?;
        }
    }
    Ok(())
}

/// The region's cgroup folders that exist.
pub(crate) fn existing(region: &Region) -> Result<Vec<PathBuf>, LabError> {
    let name = region.cgroup()?;
    Ok(all_hierarchies(&mounts()?).into_iter().map(|root| root.join(&name)).filter(|path| path.exists()).collect())
}

fn mounts() -> Result<String, LabError> {
    fs::read_to_string("/proc/self/mounts").on("read", "/proc/self/mounts")
}

/// The hierarchies that controllers are in: all of version 1, or the single one of version 2 where there is no other.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let first = roots(mounts, &["cgroup"]);
    if first.is_empty() { roots(mounts, &["cgroup2"]) } else { first }
}

/// Every hierarchy: the container runtime makes its groups in an empty version 2 one too.
fn all_hierarchies(mounts: &str) -> Vec<PathBuf> {
    roots(mounts, &["cgroup", "cgroup2"])
}

fn roots(mounts: &str, types: &[&str]) -> Vec<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut roots: Vec<PathBuf> = fields
        .filter(|fields| fields.get(2).is_some_and(|kind| types.contains(kind)))
        .filter_map(|fields| fields.get(1).map(PathBuf::from))
        .filter(|path| path.starts_with("/sys/fs/cgroup"))
        .collect();
    roots.sort();
    roots.dedup();
    roots
}

/// Removes a cgroup, deepest first; its files go with their folder.
fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup /elsewhere/cpu cgroup rw,cpu 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";

    #[test]
    fn each_version_1_hierarchy_counts_once() {
        assert_eq!(hierarchies(HYBRID), [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/memory")]);
    }

    #[test]
    fn removal_looks_into_every_hierarchy() {
        let all = ["cpu", "memory", "unified"].map(|name| Path::new("/sys/fs/cgroup").join(name));
        assert_eq!(all_hierarchies(HYBRID), all);
    }

    #[test]
    fn version_2_counts_where_there_is_nothing_else() {
        assert_eq!(hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), [PathBuf::from("/sys/fs/cgroup")]);
    }

    #[test]
    fn a_tree_is_removed_deepest_first_and_a_missing_one_is_fine() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let top = root.path().join("lab");
        fs::create_dir_all(top.join("kubepods/burstable/pod1"))?;
        fs::create_dir_all(top.join("kubepods/besteffort"))?;
        remove_tree(&top)?;
        assert!(!top.exists());
        remove_tree(&top)
    }
}
