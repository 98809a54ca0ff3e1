use std::io::Cursor;

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 50, owner: None };

/// Adds an entry with any path: the builder itself refuses those that this is about.
fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, content: &str) {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    if kind.is_symlink() || kind.is_hard_link() {
        header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    } else {
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
}

fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        add(&mut builder, *kind, path, content);
    }
    builder.into_inner().unwrap()
}

fn unpacked(bytes: &[u8]) -> (Result<(), UnpackError>, tempfile::TempDir) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("workspace");
    fs::create_dir(&folder).unwrap();
    (unpack(Cursor::new(bytes), &folder, &BOUNDS), base)
}

use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

#[test]
fn files_folders_and_links_that_stay_inside_are_unpacked() {
    let entries = [
        (EntryType::XGlobalHeader, "pax_global_header", "52 comment=0123456789012345678901234567890123456789\n"),
        (Directory, "./a/", ""),
        (Regular, "a/b", "text"),
        (Regular, "c/d/e", "deep"),
        (Symlink, "c/l", "../a/b"),
        (Symlink, "here", "c/./d"),
    ];
    let (result, base) = unpacked(&archive(&entries));
    result.unwrap();
    let folder = base.path().join("workspace");
    assert_eq!(fs::read_to_string(folder.join("c/l")).unwrap(), "text");
    assert_eq!(fs::read_to_string(folder.join("here/e")).unwrap(), "deep");
    use std::os::unix::fs::PermissionsExt;
    // Neither another user's rights nor more than the file's own bit.
    assert_eq!(fs::metadata(folder.join("a/b")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(measure(&folder).unwrap().1, 7);
}

#[test]
fn what_leaves_the_workspace_is_refused_and_nothing_is_written_outside() {
    let many: Vec<String> = (0..60).map(|n| format!("{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (Regular, name.as_str(), "")).collect();
    let large = "x".repeat((1 << 20) + 1);
    for (entries, words) in [
        (vec![(Regular, "../out", "x")], "a path that leaves the workspace: \"../out\""),
        (vec![(Regular, "a/../../out", "x")], "a path that leaves"),
        (vec![(Regular, "/tmp/out", "x")], "a path that leaves"),
        (vec![(Symlink, "l", "/etc")], "a link that leaves"),
        (vec![(Symlink, "l", "../out")], "a link that leaves"),
        (vec![(Symlink, "a/b/l", "../../../out")], "a link that leaves"),
        (vec![(Symlink, "l", "")], "a link that leaves"),
        // `a/b` is the workspace itself, and what is above that is outside.
        (vec![(Symlink, "a/b", ".."), (Symlink, "l", "a/b/..")], "a link that leaves"),
        (vec![(Symlink, "l", "a"), (Regular, "l/x", "x")], "a path that leaves"),
        (vec![(Directory, "a", ""), (Symlink, "l", "a"), (Regular, "l", "x")], "a path twice"),
        (vec![(Regular, "a", "1"), (Regular, "a", "2")], "a path twice"),
        (vec![(Regular, "a", "1"), (Regular, "a/b", "2")], "a path that leaves"),
        (vec![(Link, "h", "/etc/passwd")], "something else than files"),
        (vec![(Char, "d", "")], "something else than files"),
        (vec![(Block, "d", "")], "something else than files"),
        (vec![(Fifo, "d", "")], "something else than files"),
        (many, "more than 50 entries"),
        (vec![(Regular, "large", large.as_str())], "more than 1 MiB"),
        (vec![(Regular, "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", "")], ""),
    ] {
        let (result, base) = unpacked(&archive(&entries));
        if !words.is_empty() {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(words), "{words}: {message}");
        }
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1, "{words}");
    }
}

#[test]
fn an_archive_that_breaks_off_is_refused() {
    let whole = archive(&[(Regular, "a", "0123456789")]);
    for length in [3, 100, 515] {
        assert!(matches!(unpacked(&whole[..length]).0, Err(UnpackError::Archive(_))), "{length}");
    }
    unpacked(&[]).0.unwrap();
}

proptest! {
    #[test]
    fn any_bytes_and_any_paths_write_nothing_outside(
        noise in proptest::collection::vec(any::<u8>(), 0..1500),
        paths in proptest::collection::vec(("[./ab\\\\]{1,8}", "[./ab]{0,8}", 0..3_usize), 0..8),
    ) {
        let kinds = [Regular, Symlink, Directory];
        let entries: Vec<_> = paths.iter().map(|(path, link, kind)| (kinds[*kind], path.as_str(), link.as_str())).collect();
        for bytes in [noise, archive(&entries)] {
            let (_, base) = unpacked(&bytes);
            prop_assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
            let folder = base.path().join("workspace");
            for (path, _, _) in &paths {
                // Wherever the way over a link leads, it stays inside.
                if let Ok(real) = fs::canonicalize(folder.join(path.trim_start_matches('/'))) && !path.contains("..") {
                    prop_assert!(real.starts_with(fs::canonicalize(&folder).unwrap()), "{:?}", real);
                }
            }
        }
    }
}
