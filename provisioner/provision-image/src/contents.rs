//! What an image holds beside its program, found on this machine: programs by name, files and folders by path.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::ImageError;

/// Where programs are looked for.
const SEARCH_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// One thing in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A folder.
    Folder,
    /// A file of this machine, and whether it can be executed.
    File { source: PathBuf, executable: bool },
    /// A symbolic link.
    Link { target: String },
}

/// Finds everything that `entries` name, by its absolute path, which is the same in the image as here but for links among its folders:
/// those are followed.
///
/// What a link points to comes along. Rights are reduced to whether a file can be executed.
///
/// # Errors
/// [`ImageError`] names the entry or file.
pub(crate) fn find(entries: &[String]) -> Result<BTreeMap<PathBuf, Item>, ImageError> {
    let mut found = BTreeMap::new();
    for entry in entries {
        add(&mut found, &locate(entry)?)?;
    }
    Ok(found)
}

/// Finds an entry: a path, or a program's name.
fn locate(entry: &str) -> Result<PathBuf, ImageError> {
    let path = Path::new(entry);
    if path.is_absolute() {
        let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_))) && path.parent().is_some();
        return match plain {
            false => Err(ImageError::InvalidContent { entry: entry.to_owned() }),
            true if path.exists() => Ok(path.to_owned()),
            true => Err(ImageError::ContentNotFound { entry: entry.to_owned(), searched: vec!["/".to_owned()] }),
        };
    }
    if entry.is_empty() || entry.contains('/') || [".", ".."].contains(&entry) {
        return Err(ImageError::InvalidContent { entry: entry.to_owned() });
    }
    let candidates = SEARCH_PATH.iter().map(|folder| Path::new(folder).join(entry));
    let is_program = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && is_executable(&metadata));
    candidates
        .into_iter()
        .find(is_program)
        .ok_or_else(|| ImageError::ContentNotFound { entry: entry.to_owned(), searched: SEARCH_PATH.map(str::to_owned).to_vec() })
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o111 != 0
}

fn add(found: &mut BTreeMap<PathBuf, Item>, path: &Path) -> Result<(), ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let place = place(path).map_err(failed)?;
    if found.contains_key(&place) {
        return Ok(());
    }
    let metadata = fs::symlink_metadata(&place).map_err(failed)?;
    if metadata.is_symlink() {
        let target = fs::read_link(&place).map_err(failed)?;
        let there = place.parent().unwrap_or(Path::new("/")).join(&target);
        found.insert(place, Item::Link { target: target.to_string_lossy().into_owned() });
        // A link that leads nowhere here leads nowhere there.
        return if there.exists() { add(found, &there) } else { Ok(()) };
    }
    if metadata.is_file() {
        found.insert(place.clone(), Item::File { source: place, executable: is_executable(&metadata) });
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(ImageError::SpecialFile { path: place });
    }
    let entries = fs::read_dir(&place).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
    found.insert(place, Item::Folder);
    entries.iter().try_for_each(|entry| add(found, &entry.path()))
}

/// Follows the links among the folders of an absolute path, and `..`; a link at its end stays.
pub(crate) fn place(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
        _ => fs::canonicalize(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn texts(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_program_is_found_by_its_name_and_links_bring_what_they_point_to() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(base.join("tool/data")).unwrap();
        fs::write(base.join("tool/data/text"), "a").unwrap();
        fs::write(base.join("other"), "b").unwrap();
        fs::set_permissions(base.join("other"), fs::Permissions::from_mode(0o4700)).unwrap();
        symlink("../../other", base.join("tool/data/link")).unwrap();
        symlink("nowhere", base.join("tool/lost")).unwrap();
        symlink("tool", base.join("way")).unwrap();

        let found = find(&texts(&["cat", &base.join("way/data").display().to_string(), &base.join("tool").display().to_string()])).unwrap();
        let programs = fs::canonicalize("/usr/bin").unwrap();
        assert_eq!(found[&programs.join("cat")], Item::File { source: programs.join("cat"), executable: true });
        let expected = [
            ("other", Item::File { source: base.join("other"), executable: true }),
            ("tool", Item::Folder),
            ("tool/data", Item::Folder),
            ("tool/data/link", Item::Link { target: "../../other".to_owned() }),
            ("tool/data/text", Item::File { source: base.join("tool/data/text"), executable: false }),
            ("tool/lost", Item::Link { target: "nowhere".to_owned() }),
        ];
        let below: Vec<_> =
            found.iter().filter_map(|(path, item)| Some((path.strip_prefix(&base).ok()?.to_str()?, item.clone()))).collect();
        assert_eq!(below, expected);
    }

    #[test]
    fn what_is_not_there_or_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (entry, expected) in [
            ("no-such-program", "`no-such-program` was not found in /usr/local/sbin, "),
            ("/no/such/file", "`/no/such/file` was not found"),
            ("bin/sh", "`bin/sh` is neither"),
            ("/etc/../etc/passwd", "is neither"),
            ("/", "`/` is neither"),
            ("", "is neither"),
            ("..", "is neither"),
            (socket.to_str().unwrap(), "is no file, folder or link"),
        ] {
            let message = find(&texts(&[entry])).unwrap_err().to_string();
            assert!(message.contains(expected), "{entry:?} gave {message}");
        }
    }
}
