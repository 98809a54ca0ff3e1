//! Where Java and Kafka's jars are on this machine.

use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use thiserror::Error;

/// Version of Kafka, as tests/kafka.sh pins it.
const VERSION: &str = "4.1.0";
/// Where that script puts the jars for root, and below a home folder for anybody else.
const SHARED: &str = "/usr/local/share";
const OWN: &str = ".local/share";

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum InstalledError {
    #[error("Java is not installed: no folder of PATH has `java`; install it and Kafka with `tests/kafka.sh`")]
    NoJava,
    #[error("Kafka is not installed: `kafka_2.13-{VERSION}.jar` is not in {0}; install it with `tests/kafka.sh`")]
    NoKafka(String),
}

/// What a broker is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The program `java`.
    pub(crate) java: PathBuf,
    /// Folder of Kafka's jars.
    pub(crate) jars: PathBuf,
}

/// Finds Java in `search_path`, and the jars in `jars` or where they are put by default.
///
/// # Errors
/// What is missing, with what to do.
pub(crate) fn find(search_path: &str, jars: Option<&Path>) -> Result<Installed, InstalledError> {
    let folders = search_path.split(':').filter(|folder| folder.starts_with('/'));
    let java = folders.map(|folder| Path::new(folder).join("java")).find(|program| program.is_file()).ok_or(InstalledError::NoJava)?;
    let places = match jars {
        Some(folder) => vec![folder.to_owned()],
        None => places(),
    };
    let has_broker = |folder: &&PathBuf| folder.join(format!("kafka_2.13-{VERSION}.jar")).is_file();
    match places.iter().find(has_broker) {
        Some(jars) => Ok(Installed { java, jars: jars.clone() }),
        None => Err(InstalledError::NoKafka(places.iter().map(|place| format!("`{}`", place.display())).collect::<Vec<_>>().join(" or "))),
    }
}

/// The home folder is that of the user database: a container of one machine has no variable for it.
fn places() -> Vec<PathBuf> {
    let home = User::from_uid(geteuid()).ok().flatten().map(|user| user.dir.join(OWN));
    home.into_iter().chain([PathBuf::from(SHARED)]).map(|share| share.join("provision").join(format!("kafka-{VERSION}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let (programs, jars) = (folder.path().join("bin"), folder.path().join("jars"));
        create_dir_all(&programs).unwrap();
        create_dir_all(&jars).unwrap();
        let path = format!("relative:/nowhere:{}", programs.display());
        assert_eq!(find(&path, Some(&jars)), Err(InstalledError::NoJava));
        write(programs.join("java"), "").unwrap();
        let missing = find(&path, Some(&jars)).unwrap_err().to_string();
        assert!(missing.contains(jars.to_str().unwrap()) && missing.ends_with("`tests/kafka.sh`"), "{missing}");
        write(jars.join("kafka_2.13-4.1.0.jar"), "").unwrap();
        assert_eq!(find(&path, Some(&jars)), Ok(Installed { java: programs.join("java"), jars: jars.clone() }));
        assert!(places().contains(&PathBuf::from("/usr/local/share/provision/kafka-4.1.0")), "{:?}", places());
    }
}
