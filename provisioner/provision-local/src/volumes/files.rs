//! Files of ConfigMaps and Secrets: all of a volume change at once, as on a cluster.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use super::{Owner, VolumeError, is_inside};
use crate::kubelet::File;

/// Link to the folder that holds the content of now.
pub(super) const DATA: &str = "..data";

/// Writes the files of a volume: into a new folder, to which one link is turned at the end.
pub(super) fn write(volume: &str, folder: &Path, files: &[File], owner: &Owner) -> Result<(), VolumeError> {
    if let Some(file) = files.iter().find(|file| !is_inside(&file.path)) {
        return Err(VolumeError::Escape { path: file.path.clone(), volume: volume.to_owned() });
    }
    let failed = |source| VolumeError::Folder { action: "write files to", path: folder.to_owned(), source };
    // Only a name of ours: what it points to is removed later.
    let current = fs::read_link(folder.join(DATA)).ok().filter(|name| number(name).is_some());
    if current.as_ref().is_some_and(|current| is_same(&folder.join(current), files)) {
        return Ok(());
    }
    turn(folder, current, files, owner).map_err(failed)
}

fn turn(folder: &Path, current: Option<PathBuf>, files: &[File], owner: &Owner) -> io::Result<()> {
    let next = current.as_deref().and_then(number).unwrap_or(0) + 1;
    let new = PathBuf::from(format!("..{next}"));
    super::remove(&folder.join(&new))?;
    make_folder(&folder.join(&new), owner)?;
    for file in files {
        let path = folder.join(&new).join(&file.path);
        for above in file.path.ancestors().skip(1).filter(|above| *above != Path::new("")).collect::<Vec<_>>().into_iter().rev() {
            make_folder(&folder.join(&new).join(above), owner)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&file.content)?;
        owner.give_file(&path, file.mode)?;
    }
    replace_link(&new, &folder.join(DATA))?;
    let tops: BTreeSet<&Path> = files.iter().filter_map(|file| first(&file.path)).collect();
    for top in &tops {
        let link = folder.join(top);
        if fs::read_link(&link).is_err() {
            replace_link(&Path::new(DATA).join(top), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if !name.to_string_lossy().starts_with("..") && !tops.contains(name.as_path()) {
            fs::remove_file(folder.join(name))?;
        }
    }
    match current {
        Some(current) => super::remove(&folder.join(current)),
        None => Ok(()),
    }
}

fn number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix("..")?.parse().ok()
}

fn first(path: &Path) -> Option<&Path> {
    path.components().find_map(|part| if let Component::Normal(name) = part { Some(Path::new(name)) } else { None })
}

/// Makes a folder that others may pass; what is in it is as closed as its mode says.
fn make_folder(folder: &Path, owner: &Owner) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result?,
    }
    owner.give_file(folder, 0o755)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

fn replace_link(target: &Path, link: &Path) -> io::Result<()> {
    let new = link.with_file_name("..new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &new)?;
    fs::rename(&new, link)
}

fn is_same(folder: &Path, files: &[File]) -> bool {
    let same = |file: &File| fs::read(folder.join(&file.path)).is_ok_and(|content| content == file.content);
    files.iter().all(same) && count(folder) == files.len()
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.file_type().is_ok_and(|kind| kind.is_dir()) { count(&entry.path()) } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::{Restart, WantedPod};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn owner() -> Owner {
        Owner::of(&WantedPod {
            uid: "u".to_owned(),
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            address: Ipv4Addr::LOCALHOST,
            restart: Restart::Always,
            grace: Duration::ZERO,
            stopping: false,
            ended: false,
            fs_group: None,
            volumes: Vec::new(),
            init_containers: Vec::new(),
            containers: Vec::new(),
        })
    }

    fn file(path: &str, content: &str) -> File {
        File { path: path.into(), content: content.into(), mode: 0o400 }
    }

    #[test]
    fn files_change_all_at_once_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        write("v", folder.path(), &[file("a", "1"), file("sub/b", "2")], &owner()).unwrap();
        assert_eq!((read("a"), read("sub/b")), (Some("1".to_owned()), Some("2".to_owned())));
        let before = fs::read_link(folder.path().join(DATA)).unwrap();
        write("v", folder.path(), &[file("a", "1"), file("sub/b", "2")], &owner()).unwrap();
        assert_eq!(fs::read_link(folder.path().join(DATA)).unwrap(), before, "nothing changed");
        write("v", folder.path(), &[file("a", "3"), file("c", "4")], &owner()).unwrap();
        assert_eq!((read("a"), read("sub/b"), read("c")), (Some("3".to_owned()), None, Some("4".to_owned())));
        assert!(!folder.path().join(before).exists());
        let mode = fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }

    #[test]
    fn no_file_is_written_outside() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a/../../x"] {
            let refused = write("v", folder.path(), &[file(path, "")], &owner());
            assert!(matches!(refused, Err(VolumeError::Escape { .. })), "{path}");
        }
    }
}
