//! This program for the inside of containers, whose image need not have what it is linked to: a copy with its libraries.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::role::CONTAINED;

/// Name of its folder beside those of sandboxes.
pub(super) const FOLDER: &str = "program";
/// Where a container sees that folder.
pub(super) const INSIDE: &str = "/.sandbox";
const PROGRAM: &str = "sandbox-manager";

/// Copies this program into a folder that is made for it; returns the words that start the copy as a container's first process.
///
/// # Errors
/// If a part of it can't be found or copied.
pub(super) fn lay_out(folder: &Path) -> io::Result<Vec<String>> {
    let program = std::env::current_exe()?;
    DirBuilder::new().mode(0o755).create(folder)?;
    copy(&program, &folder.join(PROGRAM))?;
    let inside = |name: &str| format!("{INSIDE}/{name}");
    // The loader tells what it would load instead of starting the program; one without a loader tells its version.
    let told = Command::new(&program).arg("--version").env_clear().env("LD_TRACE_LOADED_OBJECTS", "1").output()?;
    let libraries = libraries(&String::from_utf8_lossy(&told.stdout));
    for (name, path) in &libraries.all {
        copy(path, &folder.join(name))?;
    }
    let mut words = match libraries.loader {
        Some(loader) => vec![inside(&loader), "--library-path".to_owned(), INSIDE.to_owned(), inside(PROGRAM)],
        None => vec![inside(PROGRAM)],
    };
    words.push(CONTAINED.to_owned());
    Ok(words)
}

/// What a program is linked to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Libraries {
    /// Names under which the files are looked for, and where they are.
    all: Vec<(String, PathBuf)>,
    /// Name of the loader among them.
    loader: Option<String>,
}

/// Reads what the loader tells: `name => path (address)`, and `path (address)` for the loader itself.
fn libraries(told: &str) -> Libraries {
    let mut found = Libraries::default();
    for line in told.lines().filter(|line| line.starts_with('\t')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, "=>", path, _] => found.all.push((name.to_owned(), path.into())),
            [path, _] if path.starts_with('/') => {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                found.all.push((name.clone(), path.into()));
                found.loader = Some(name);
            }
            _ => {}
        }
    }
    found
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_are_read() {
        let told = "\tlinux-vdso.so.1 (0x00007fb4)\n\tlibz.so.1 => /lib/x/libz.so.1.2 (0x1)\n\t/lib64/ld-linux-x86-64.so.2 (0x2)\n";
        let found = libraries(told);
        let (libz, loader) = ("libz.so.1".to_owned(), "ld-linux-x86-64.so.2".to_owned());
        let all = vec![(libz, "/lib/x/libz.so.1.2".into()), (loader.clone(), "/lib64/ld-linux-x86-64.so.2".into())];
        assert_eq!(found, Libraries { all, loader: Some(loader) });
        assert_eq!(libraries("sandbox-manager 0.1.0\n"), Libraries::default());
    }
}
