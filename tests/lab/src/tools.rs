//! Where the programs are that `install.sh` built, and Debian's.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::LabError;

/// All that is pinned, in the order in which `install.sh` reads it; a change of any byte is another folder of programs.
const PINNED: [&[u8]; 24] = [
    include_bytes!("../tools/containerd/go.mod"),
    include_bytes!("../tools/coredns/go.mod"),
    include_bytes!("../tools/etcd/go.mod"),
    include_bytes!("../tools/helm/go.mod"),
    include_bytes!("../tools/kubernetes/go.mod"),
    include_bytes!("../tools/metrics-server/go.mod"),
    include_bytes!("../tools/versitygw/go.mod"),
    include_bytes!("../tools/containerd/go.sum"),
    include_bytes!("../tools/coredns/go.sum"),
    include_bytes!("../tools/etcd/go.sum"),
    include_bytes!("../tools/helm/go.sum"),
    include_bytes!("../tools/kubernetes/go.sum"),
    include_bytes!("../tools/metrics-server/go.sum"),
    include_bytes!("../tools/versitygw/go.sum"),
    include_bytes!("../tools/containerd/flags"),
    include_bytes!("../tools/coredns/flags"),
    include_bytes!("../tools/etcd/flags"),
    include_bytes!("../tools/helm/flags"),
    include_bytes!("../tools/kubernetes/flags"),
    include_bytes!("../tools/metrics-server/flags"),
    include_bytes!("../tools/versitygw/flags"),
    include_bytes!("../tools/crds.txt"),
    include_bytes!("../../kafka/pom.xml"),
    include_bytes!("../../kafka/jars.sha256"),
];

/// The folder of the pinned programs and CRDs.
#[derive(Debug, Clone)]
pub struct Tools {
    home: PathBuf,
}

impl Tools {
    /// Finds the programs below `cache`, the folder `provision` of the user's cache.
    #[must_use]
    pub fn below(cache: &Path) -> Self {
        let mut hash = Sha256::new();
        for part in PINNED {
            hash.update(part);
        }
        let key: String = hex::encode(hash.finalize()).chars().take(16).collect();
        Self { home: cache.join("tools").join(key) }
    }

    /// The folder with kubectl and the other programs.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.home.join("bin")
    }

    /// The folder with the CRDs of the add-ons, one folder for each.
    #[must_use]
    pub fn crds(&self) -> PathBuf {
        self.home.join("crds")
    }

    /// The path of one pinned program.
    ///
    /// # Errors
    /// [`LabError::NotInstalled`] if it was never built.
    pub fn program(&self, name: &str) -> Result<PathBuf, LabError> {
        installed(self.bin().join(name))
    }
}

/// The path itself, if there is something.
pub(crate) fn installed(path: PathBuf) -> Result<PathBuf, LabError> {
    if path.exists() { Ok(path) } else { Err(LabError::NotInstalled { path }) }
}

/// The folder of Kafka's jars, where `tests/kafka.sh` puts them for root.
pub(crate) fn kafka_jars() -> Result<PathBuf, LabError> {
    installed("/usr/local/share/provision/kafka-4.1.0".into())
}

/// The program that runs them.
pub(crate) fn java() -> Result<PathBuf, LabError> {
    installed("/usr/bin/java".into())
}

/// The folder of PostgreSQL's own programs, of the newest version that is installed.
pub(crate) fn postgres_bin() -> Result<PathBuf, LabError> {
    let base = PathBuf::from("/usr/lib/postgresql");
    let newest =
        std::fs::read_dir(&base).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    match newest {
        Some(version) => installed(base.join(version.to_string()).join("bin")),
        None => Err(LabError::NotInstalled { path: base }),
    }
}
