//! The bound of the cache: what was used least recently goes first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::lock::{Mode, try_lock};
use super::repair::{remove_folder, remove_now};

struct Copy {
    path: PathBuf,
    used: SystemTime,
    size: u64,
}

/// Removes copies until the rest is within `bound` bytes; the copy named `keep`, and those in use, stay.
///
/// # Errors
/// What the file system says.
pub(super) fn make_room(repositories: &Path, bound: u64, keep: &str) -> io::Result<()> {
    let mut copies = copies(repositories)?;
    let mut total: u64 = copies.iter().map(|copy| copy.size).sum();
    copies.sort_by_key(|copy| copy.used);
    for copy in copies {
        if total <= bound {
            break;
        }
        if copy.path.file_stem().is_some_and(|stem| stem == keep) {
            continue;
        }
        let Some(_held) = try_lock(&copy.path.with_extension("lock"), Mode::Exclusive)? else { continue };
        remove_now(&copy.path)?;
        tracing::info!(path = %copy.path.display(), bytes = copy.size, "removed the copy that was used least recently");
        total -= copy.size;
    }
    Ok(())
}

/// Removes what a killed service left half removed or half made, as far as nobody is at it.
pub(super) fn sweep(repositories: &Path) {
    let entries = fs::read_dir(repositories).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let unfinished = path.extension().is_some_and(|ending| ending == "gone" || ending == "new");
        if unfinished && let Ok(Some(_held)) = try_lock(&path.with_extension("lock"), Mode::Exclusive) {
            // Tried again when the repository is fetched.
            drop(remove_folder(&path));
        }
    }
}

fn copies(repositories: &Path) -> io::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(repositories)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "git") {
            let used = fs::metadata(path.with_extension("lock")).and_then(|lock| lock.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            copies.push(Copy { used, size: size(&path), path });
        }
    }
    Ok(copies)
}

/// Sums up files; those that vanish meanwhile count nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    fn copy(folder: &Path, name: &str, size: usize, age: u64) {
        let path = folder.join(format!("{name}.git"));
        fs::create_dir_all(path.join("objects")).unwrap();
        fs::write(path.join("objects/pack"), vec![0; size]).unwrap();
        let lock = File::create(folder.join(format!("{name}.lock"))).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_least_recently_used_goes_but_never_what_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("a", 400), ("b", 300), ("c", 200), ("d", 100)] {
            copy(folder.path(), name, 1000, age);
        }
        let used = try_lock(&folder.path().join("b.lock"), Mode::Shared).unwrap().unwrap();
        used.set_modified(SystemTime::now() - Duration::from_secs(300)).unwrap();
        make_room(folder.path(), 4000, "d").unwrap();
        assert_eq!(names(folder.path()), ["a.git", "b.git", "c.git", "d.git"]);
        make_room(folder.path(), 2000, "d").unwrap();
        assert_eq!(names(folder.path()), ["b.git", "d.git"]);
        drop(used);
        make_room(folder.path(), 0, "d").unwrap();
        assert_eq!(names(folder.path()), ["d.git"]);
    }

    #[test]
    fn what_a_crash_left_half_removed_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        copy(folder.path(), "a", 1, 1);
        for name in ["b.gone", "c.new"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let _made = try_lock(&folder.path().join("c.lock"), Mode::Exclusive).unwrap().unwrap();
        sweep(folder.path());
        assert_eq!(names(folder.path()), ["a.git", "c.new"]);
    }
}
