//! Copies of remote repositories, kept to fetch less; losing one costs time and nothing else.
//!
//! ```text
//! BASE/repositories/<hash>.git    bare repository of one URL with one credential: what one credential may see, another may not
//! BASE/repositories/<hash>.lock   shared by who reads, exclusive for who fetches or removes; its time is that of the last use
//! BASE/repositories/<hash>.gone   being removed
//! BASE/scratch/<id>/              files of one running service, with its lock
//! ```
//!
//! Several services may use one folder.

mod evict;
mod fetch;
mod lock;
mod repair;
mod scratch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use feature_api::RepositoryUrl;
use service_kit::BoxError;
use sha2::{Digest, Sha256};

use self::fetch::Wanted;
use self::lock::{Gates, Held, Mode};
pub(crate) use self::scratch::Folder;
use self::scratch::Scratch;
use crate::failure::{Failure, Reason};
use crate::git::Git;
use crate::git::credentials::Access;
use crate::request::{BranchName, CommitId};
use crate::settings::Config;

/// How often a copy that others removed in between is fetched anew.
const ROUNDS: u32 = 3;

/// A repository and the way to it.
pub(crate) struct Remote {
    /// Where it is.
    pub(crate) url: RepositoryUrl,
    /// With which credential.
    pub(crate) access: Access,
    /// Name of the credential.
    pub(crate) credential: Option<String>,
}

impl Remote {
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.url.as_str());
        hash.update([0]);
        hash.update(self.credential.as_deref().unwrap_or_default());
        hex::encode(&hash.finalize()[..16])
    }
}

/// The cached repositories.
pub(crate) struct Cache {
    git: Git,
    base: PathBuf,
    gates: Gates,
    scratch: Scratch,
    bound: u64,
    clone_limit: Duration,
    operation_limit: Duration,
    committer: (String, String),
}

/// A cached repository that holds what was asked for, as long as this lives.
pub(crate) struct Repository {
    path: PathBuf,
    key: String,
    _held: Held,
}

impl Repository {
    /// Returns the bare repository's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// Opens the cache and removes what ended services left in it.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub(crate) fn open(git: Git, config: &Config) -> Result<Self, BoxError> {
        let scratch = Scratch::open(&config.base.join("scratch")).map_err(|error| scratch::unusable(&config.base, error))?;
        let repositories = config.base.join("repositories");
        std::fs::create_dir_all(&repositories).map_err(|error| scratch::unusable(&repositories, error))?;
        evict::sweep(&repositories);
        Ok(Self {
            git,
            base: config.base.clone(),
            gates: Gates::default(),
            scratch,
            bound: config.cache_size,
            clone_limit: config.clone_timeout,
            operation_limit: config.operation_timeout,
            committer: (config.committer_name.clone(), config.committer_email.clone()),
        })
    }

    /// Returns the folder of everything.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns the way to run git.
    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// Returns the longest time of an operation.
    pub(crate) fn operation_limit(&self) -> Duration {
        self.operation_limit
    }

    /// Returns name and address for commits.
    pub(crate) fn committer(&self) -> (&str, &str) {
        (&self.committer.0, &self.committer.1)
    }

    /// Makes a folder for the files of one request.
    ///
    /// # Errors
    /// [`Failure`] if the disk does not take it.
    pub(crate) fn folder(&self) -> Result<Folder, Failure> {
        self.scratch.folder().map_err(|error| Failure::internal("failed to make a folder", &error))
    }

    fn file(&self, key: &str, ending: &str) -> PathBuf {
        self.base.join("repositories").join(format!("{key}.{ending}"))
    }

    /// Finds or fetches a copy that holds `commit`; the remote is asked for `branch`, or for the commit itself.
    ///
    /// # Errors
    /// [`Failure`] of the fetch; [`Reason::Moved`] if the branch is there without the commit.
    pub(crate) async fn with_commit(&self, remote: &Remote, commit: &CommitId, branch: Option<&BranchName>) -> Result<Repository, Failure> {
        let key = remote.key();
        for _ in 0..ROUNDS {
            let held = self.hold(&key, Mode::Shared).await?;
            let path = self.file(&key, "git");
            if path.is_dir() && self.holds(&path, commit).await? {
                return Ok(Repository { path, key, _held: held });
            }
            drop(held);
            self.fetch(remote, Wanted { commit, branch }).await?;
        }
        Err(Failure::new(Reason::Busy, format!("the copy of {} was removed again and again; the cache is too small", remote.url)))
    }

    /// Passes a result on; a copy that it shows to be damaged is removed, and the next request fetches it anew.
    ///
    /// # Errors
    /// That of the result.
    pub(crate) async fn judged<T>(&self, repository: Repository, result: Result<T, Failure>) -> Result<T, Failure> {
        let damaged = result.as_ref().is_err_and(|failure| failure.reason == Reason::Corrupt);
        let key = repository.key.clone();
        drop(repository);
        if damaged {
            let _held = self.hold(&key, Mode::Exclusive).await?;
            tracing::warn!(repository = key, "a damaged copy is removed");
            repair::remove(&self.file(&key, "git")).await?;
        }
        result
    }

    async fn hold(&self, key: &str, mode: Mode) -> Result<Held, Failure> {
        // Who waits for a fetch waits as long as that may take.
        self.gates.hold(key, &self.file(key, "lock"), mode, self.clone_limit).await
    }

    async fn holds(&self, path: &Path, commit: &CommitId) -> Result<bool, Failure> {
        let call = self.git.call(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).on(path);
        Ok(call.run_to_any_end("look for a commit").await?.success)
    }
}

/// Tells whether the cache can be written, in words that may be shown.
pub(crate) async fn check_writable(base: &Path) -> Result<(), String> {
    let probe = base.join("scratch").join(format!("probe-{}", std::process::id()));
    let written = tokio::fs::write(&probe, b"probe").await;
    drop(tokio::fs::remove_file(&probe).await);
    written.map_err(|error| format!("the cache can't be written (GIT_WORKSPACE_BASE_PATH): {}", error.kind()))
}

/// Runs work on files where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Failure::internal("failed to work on the cache's files", &error)),
        Err(error) => Err(Failure::internal("work on the cache's files panicked", &error)),
    }
}
