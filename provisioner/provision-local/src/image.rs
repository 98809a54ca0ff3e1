//! Which program of this machine an image stands for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Folders in which a command without `/` is looked for when the container has no `PATH`.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs of this machine by the name of the image that they stand for.
///
/// A name is the last part of an image's path (`feature-service` of `registry.example.com/feature-service:1.0`) or the whole path. An image
/// with a digest is first looked for among those that were installed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    named: BTreeMap<String, PathBuf>,
    installed: Option<PathBuf>,
}

impl FromIterator<(String, PathBuf)> for Catalogue {
    fn from_iter<I: IntoIterator<Item = (String, PathBuf)>>(entries: I) -> Self {
        Self { named: entries.into_iter().collect(), installed: None }
    }
}

/// Why there is no program to start. The message is what the pod's status says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NoProgram {
    /// The image is in no catalogue.
    #[error("no program of this machine stands for it; known are: {known}")]
    Unknown {
        /// Names that the catalogue has.
        known: String,
    },
    /// The program is not there.
    #[error("program not found: {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there and can't be started.
    #[error("{} is no program: it is not executable", path.display())]
    NotExecutable {
        /// Which file.
        path: PathBuf,
    },
    /// The command is nowhere in `PATH`.
    #[error("exec: {command:?}: executable file not found in $PATH ({path})")]
    NotInPath {
        /// What was looked for.
        command: String,
        /// Where.
        path: String,
    },
}

impl Catalogue {
    /// Adds a folder of installed programs: `<hexadecimal digits of the SHA-256>/<name>`.
    #[must_use]
    pub fn with_installed(self, folder: PathBuf) -> Self {
        Self { installed: Some(folder), ..self }
    }

    /// Finds the program that an image stands for.
    pub(crate) fn program(&self, image: &str) -> Result<PathBuf, NoProgram> {
        let path = repository(image);
        let last = path.rsplit('/').next().unwrap_or(path);
        // Anything else than digits could lead out of the folder.
        let digits =
            image.split_once("@sha256:").map(|(_, digits)| digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let installed = self.installed.as_ref().zip(digits).map(|(folder, digits)| folder.join(digits).join(last));
        if let Some(installed) = installed.filter(|installed| installed.exists() || self.named.is_empty()) {
            return executable(&installed);
        }
        let Some(program) = self.named.get(path).or_else(|| self.named.get(last)) else {
            let known = self.named.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(NoProgram::Unknown { known });
        };
        executable(program)
    }
}

/// Finds the program that a command names: a path of this machine, the image's own program by its name, or one in `PATH`.
pub(crate) fn command(name: &str, image: &Path, path: &str) -> Result<PathBuf, NoProgram> {
    if name.contains('/') {
        let named = Path::new(name);
        // Paths within an image mean nothing here, but for the program that the image is.
        if !named.exists() && named.file_name() == image.file_name() {
            return Ok(image.to_owned());
        }
        return executable(named);
    }
    if image.file_name().is_some_and(|file| file == name) {
        return Ok(image.to_owned());
    }
    let found = path.split(':').filter(|folder| !folder.is_empty()).find_map(|folder| executable(&Path::new(folder).join(name)).ok());
    found.ok_or_else(|| NoProgram::NotInPath { command: name.to_owned(), path: path.to_owned() })
}

fn executable(path: &Path) -> Result<PathBuf, NoProgram> {
    match fs::metadata(path) {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => Ok(path.to_owned()),
        Ok(_) => Err(NoProgram::NotExecutable { path: path.to_owned() }),
        Err(_) => Err(NoProgram::Missing { path: path.to_owned() }),
    }
}

/// Returns an image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_digests_and_ports_are_no_part_of_the_name() {
        for (image, name) in [
            ("127.0.0.1:5000/feature-worker@sha256:30be", "127.0.0.1:5000/feature-worker"),
            ("registry.example.com/a/b:1.0", "registry.example.com/a/b"),
            ("registry:5000/b:1@sha256:0", "registry:5000/b"),
            ("postgres", "postgres"),
        ] {
            assert_eq!(repository(image), name);
        }
    }

    #[test]
    fn a_program_is_found_or_the_place_is_named() {
        let catalogue: Catalogue = [("shell", "/bin/sh"), ("gone", "/nowhere/gone"), ("text", "/etc/passwd")]
            .map(|(name, path)| (name.to_owned(), path.into()))
            .into_iter()
            .collect();
        let said = |image: &str| catalogue.program(image).map_err(|error| error.to_string());
        assert_eq!(said("example.com/shell:1"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(said("gone"), Err("program not found: /nowhere/gone".to_owned()));
        assert_eq!(said("text"), Err("/etc/passwd is no program: it is not executable".to_owned()));
        assert_eq!(said("other"), Err("no program of this machine stands for it; known are: gone, shell, text".to_owned()));
    }

    #[test]
    fn an_image_with_a_digest_is_the_program_that_was_installed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("30be/shell");
        fs::create_dir(folder.path().join("30be")).unwrap();
        fs::copy("/bin/true", &program).unwrap();
        let installed = Catalogue::default().with_installed(folder.path().to_owned());
        assert_eq!(installed.program("provision.local/shell@sha256:30be"), Ok(program.clone()));
        let missing = installed.program("provision.local/shell@sha256:77").unwrap_err().to_string();
        assert_eq!(missing, format!("program not found: {}", folder.path().join("77/shell").display()));
        fs::create_dir(folder.path().join("inner")).unwrap();
        let inner = Catalogue::default().with_installed(folder.path().join("inner"));
        assert!(
            matches!(inner.program("provision.local/shell@sha256:../30be"), Err(NoProgram::Unknown { .. })),
            "it leads out of the folder"
        );
        let both: Catalogue = [("shell".to_owned(), "/bin/sh".into())].into_iter().collect();
        let both = both.with_installed(folder.path().to_owned());
        assert_eq!(both.program("provision.local/shell@sha256:30be"), Ok(program));
        assert_eq!(both.program("provision.local/shell@sha256:77"), Ok("/bin/sh".into()));
        assert_eq!(both.program("provision.local/shell"), Ok("/bin/sh".into()));
    }

    #[test]
    fn a_command_is_a_path_the_images_program_or_in_path() {
        let image = Path::new("/opt/build/feature-service");
        let found = |name: &str| command(name, image, "/nowhere:/bin").map_err(|error| error.to_string());
        assert_eq!(found("sh"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(found("/bin/sh"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(found("feature-service"), Ok(image.to_owned()));
        assert_eq!(found("/usr/local/bin/feature-service"), Ok(image.to_owned()));
        assert_eq!(found("/app/other"), Err("program not found: /app/other".to_owned()));
        assert_eq!(found("other"), Err("exec: \"other\": executable file not found in $PATH (/nowhere:/bin)".to_owned()));
    }
}
