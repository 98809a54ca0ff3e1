//! The files that a sandbox sees: a root of its own, with a read-only view of some of the machine's folders.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::{SELF, failed};
use crate::plan::{Plan, ROOT, WORKSPACE};

const NOTHING: Option<&str> = None;
/// Devices that do no harm.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Most files in `/tmp`.
const TMP_FILES: u64 = 50_000;

/// Makes the root and moves into it; tells whether it has a `/proc` of its own.
pub(super) fn enter(plan: &Plan) -> Result<bool, String> {
    let root = plan.folder.join(ROOT);
    // Nothing of what follows shows outside.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(failed("failed to part from the machine's mounts"))?;
    temporary(&root, "mode=755,size=1m").map_err(failed("failed to mount a root"))?;
    for path in &plan.readable {
        show(&root, path).map_err(failed(format_args!("failed to show {}", path.display())))?;
    }
    devices(&root, plan).map_err(failed("failed to set up /dev"))?;
    let tmp = root.join("tmp");
    fs::create_dir(&tmp)
        .and_then(|()| temporary(&tmp, &format!("mode=1777,size={},nr_inodes={TMP_FILES}", plan.tmp_size)))
        .map_err(failed("failed to set up /tmp"))?;
    let workspace = root.join(WORKSPACE);
    let harmless = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    fs::create_dir(&workspace)
        .and_then(|()| bind(&plan.folder.join(WORKSPACE), &workspace))
        .and_then(|()| restrict(&workspace, harmless))
        .map_err(failed("failed to show the workspace"))?;
    let program = std::env::current_exe().map_err(failed("failed to find the program"))?;
    let own = root.join(SELF.trim_start_matches('/'));
    File::create(&own).and_then(|_| bind(&program, &own)).map_err(failed("failed to show the program"))?;
    let has_proc = own_proc(&root).map_err(failed("failed to set up /proc"))?;
    pivot(&root).map_err(failed("failed to move into the root"))?;
    restrict(Path::new("/"), MsFlags::MS_RDONLY | harmless).map_err(failed("failed to close the root"))?;
    Ok(has_proc)
}

fn temporary(target: &Path, options: &str) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))?)
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?)
}

/// Adds restrictions to a mount; those that it has must be repeated, or the kernel refuses.
fn restrict(target: &Path, more: MsFlags) -> io::Result<()> {
    let has = statvfs(target)?.flags();
    let known = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = known.iter().filter(|(flag, _)| has.contains(*flag)).fold(MsFlags::empty(), |kept, (_, flag)| kept | *flag);
    Ok(mount(NOTHING, target, NOTHING, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept | more, NOTHING)?)
}

/// Shows one of the machine's paths, read-only; one that is not there is left out, a link stays a link.
fn show(root: &Path, path: &Path) -> io::Result<()> {
    let Ok(kind) = fs::symlink_metadata(path).map(|metadata| metadata.file_type()) else { return Ok(()) };
    let target = root.join(path.strip_prefix("/").map_err(io::Error::other)?);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() {
        return symlink(fs::read_link(path)?, target);
    }
    if kind.is_dir() {
        fs::create_dir_all(&target)?
    } else {
        File::create(&target).map(drop)?
    }
    bind(path, &target)?;
    for mounted in mounts_below(&target)? {
        restrict(&mounted, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    }
    Ok(())
}

/// Returns the mounts at and below a path: each has its own restrictions.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// Reads a path as `/proc/self/mountinfo` writes it: blanks and the like as `\040`.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                path.push(char::from(code));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path
}

fn devices(root: &Path, plan: &Plan) -> io::Result<()> {
    let folder = root.join("dev");
    fs::create_dir(&folder)?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            File::create(folder.join(name))?;
            bind(&source, &folder.join(name))?;
        }
    }
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")]
    {
        symlink(target, folder.join(name))?;
    }
    let shared = folder.join("shm");
    fs::create_dir(&shared)?;
    temporary(&shared, &format!("mode=1777,size={},nr_inodes={TMP_FILES}", plan.tmp_size))
}

/// Mounts a `/proc` that shows this namespace's processes; some containers do not allow that.
fn own_proc(root: &Path) -> io::Result<bool> {
    let target = root.join("proc");
    fs::create_dir(&target)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("proc"), &target, Some("proc"), flags, NOTHING) {
        Ok(()) => Ok(true),
        Err(Errno::EPERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes `root` the root, and lets go of the old one.
fn pivot(root: &Path) -> io::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    // The old root lies over the new one at the same place.
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_read_as_they_are_written() {
        for (text, path) in
            [("/a", "/a"), ("/a\\040b", "/a b"), ("/a\\134b", "/a\\b"), ("\\", "\\"), ("/\\04", "/\\04"), ("/\\999", "/\\999")]
        {
            assert_eq!(unescape(text), path);
        }
    }
}
