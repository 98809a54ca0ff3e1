//! Where PostgreSQL is on this machine, and of which version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::process::Command;

/// An installed PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    /// Folder of `postgres` and `initdb`.
    pub(crate) folder: PathBuf,
    /// Major version.
    pub(crate) major: u32,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ProgramsError {
    #[error("PostgreSQL is not installed: neither PATH nor `{}` has `postgres` and `initdb`; install it with `apt install postgresql`", .0.display())]
    Missing(PathBuf),
    #[error(
        "the data folder `{}` was made by PostgreSQL {data}, but only PostgreSQL {installed} is installed: install the other one with `apt \
         install postgresql-{data}`, or move the folder away to begin with an empty database",
        path.display()
    )]
    OtherVersion { path: PathBuf, data: u32, installed: String },
}

impl Programs {
    /// Returns the path of a program.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Finds every PostgreSQL in the folder of versions and in `PATH`.
pub(crate) async fn find(versions: &Path, search_path: &str) -> Vec<Programs> {
    let entries = fs::read_dir(versions).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.extend(search_path.split(':').filter(|folder| folder.starts_with('/')).map(PathBuf::from));
    folders.dedup();
    let mut found = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file()) {
        if let Some(major) = version(&folder.join("postgres")).await {
            found.push(Programs { folder, major });
        }
    }
    found
}

/// Asks a `postgres` which version it is.
async fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").env_clear().stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<u32> {
    let version = text.trim().strip_prefix("postgres (PostgreSQL) ")?;
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Chooses the version that made the data folder, or the newest one for a new folder; of equal ones the first.
///
/// # Errors
/// If there is none, or none of that version.
pub(crate) fn choose(found: &[Programs], made_by: Option<u32>, data: &Path, versions: &Path) -> Result<Programs, ProgramsError> {
    let newest = found.iter().rev().max_by_key(|programs| programs.major).ok_or_else(|| ProgramsError::Missing(versions.to_owned()))?;
    let Some(made_by) = made_by else { return Ok(newest.clone()) };
    found.iter().find(|programs| programs.major == made_by).cloned().ok_or_else(|| {
        let mut installed: Vec<u32> = found.iter().map(|programs| programs.major).collect();
        installed.sort_unstable();
        installed.dedup();
        let installed = installed.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ");
        ProgramsError::OtherVersion { path: data.to_owned(), data: made_by, installed }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_all_releases_write_them() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(parse_version("postgres (PostgreSQL) 17devel"), Some(17));
        assert_eq!(parse_version("something else 15"), None);
        assert_eq!(parse_version(""), None);
    }

    fn check_choice(installed: &[u32], made_by: Option<u32>, expected: Result<u32, &str>) {
        let found: Vec<Programs> = installed.iter().map(|major| Programs { folder: format!("/{major}").into(), major: *major }).collect();
        let choice = choose(&found, made_by, Path::new("/d"), Path::new("/v")).map(|programs| programs.major);
        match (choice, expected) {
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (choice, expected) => assert_eq!(choice.ok(), expected.ok()),
        }
    }

    #[test]
    fn a_new_folder_is_made_by_the_newest_version() {
        check_choice(&[9, 17, 15], None, Ok(17));
        check_choice(&[], None, Err("apt install postgresql"));
    }

    #[test]
    fn of_equal_versions_the_first_is_taken() {
        let found = ["/first", "/second"].map(|folder| Programs { folder: folder.into(), major: 15 });
        assert_eq!(choose(&found, None, Path::new("/d"), Path::new("/v")), Ok(found[0].clone()));
    }

    #[test]
    fn a_folder_is_served_by_the_version_that_made_it() {
        check_choice(&[15, 17], Some(15), Ok(15));
        check_choice(&[17, 18, 17], Some(15), Err("was made by PostgreSQL 15, but only PostgreSQL 17 and 18 is installed"));
        check_choice(&[], Some(15), Err("is not installed"));
    }
}
