//! What can go wrong in the lab.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure of the lab; the message says what failed and on what, the source why.
#[derive(Debug, Error)]
pub enum LabError {
    /// Namespaces, mounts and cgroups need root.
    #[error("the lab needs root: run it as root, or set PROVISION_TEST_KUBECONFIG to a cluster to test on")]
    NotRoot,
    /// A region's name becomes a folder, a host name and a cgroup.
    #[error("`{0}` is not a region name: use 1 to 12 lower-case letters and digits")]
    RegionName(String),
    /// A program or a file of the lab is not installed.
    #[error("`{path}` is missing: run tests/lab/install.sh")]
    NotInstalled {
        /// What was looked for.
        path: PathBuf,
    },
    /// Neither the home folder nor the cache folder is known.
    #[error("no folder for the lab: set HOME or XDG_CACHE_HOME")]
    NoHome,
    /// An operation on a file or folder failed.
    #[error("failed to {action} `{path}`")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("failed to start `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{program}` failed ({status}): {message}")]
    Program {
        /// The program and its first argument.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines that it printed.
        message: String,
    },
    /// A call into the kernel failed.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried, as a verb with its object.
        action: String,
        /// Why it failed.
        #[source]
        source: nix::Error,
    },
    /// A certificate could not be made.
    #[error("failed to make the certificate of `{name}`")]
    Certificate {
        /// Its common name.
        name: String,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// The Kafka broker did not make a topic.
    #[error("failed to make the topic `{topic}`")]
    Topic {
        /// Its name.
        topic: String,
        /// What the broker, or the way to it, said.
        #[source]
        source: io::Error,
    },
    /// Something did not come up, or did not go away, within its time.
    #[error("{what} within {seconds} s; see the logs in `{logs}`")]
    Deadline {
        /// What was waited for, as "... was not ...".
        what: String,
        /// How long.
        seconds: u64,
        /// Where the servers log.
        logs: PathBuf,
    },
    /// The lab is not up.
    #[error("the lab in `{0}` is not up: run `lab up`")]
    NotUp(PathBuf),
    /// `/proc` does not show the process that reads it.
    #[error("/proc does not show this process: is it mounted for this pid namespace?")]
    NoProcess,
    /// A cluster that the lab did not start has no such part.
    #[error("the cluster of PROVISION_TEST_KUBECONFIG has no {0} that the lab could reach")]
    ForeignCluster(&'static str),
}

/// Adds to an I/O error what was tried, and on what.
pub(crate) trait FileContext<T> {
    /// Turns the error into [`LabError::File`].
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, LabError>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, LabError> {
        self.map_err(|source| LabError::File { action, path: path.into(), source })
    }
}
