//! Filling a cached repository.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::lock::Mode;
use super::{Cache, Remote, blocking, evict, repair};
use crate::counts::{Operation, counted};
use crate::failure::{Failure, Reason};
use crate::request::{BranchName, CommitId};

/// What is fetched: a commit, and the branch that has it if one knows.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) commit: &'a CommitId,
    pub(super) branch: Option<&'a BranchName>,
}

impl Cache {
    /// Fetches what is missing, alone on the copy, and makes room for it.
    pub(super) async fn fetch(&self, remote: &Remote, wanted: Wanted<'_>) -> Result<(), Failure> {
        let key = remote.key();
        let held = self.hold(&key, Mode::Exclusive).await?;
        let path = self.file(&key, "git");
        let is_new = self.prepare(&key).await?;
        if !is_new && self.holds(&path, wanted.commit).await? {
            return Ok(());
        }
        let (operation, limit) = if is_new { (Operation::Clone, self.clone_limit) } else { (Operation::Fetch, self.operation_limit) };
        let fetched = counted(operation, self.fetch_commit(remote, &path, wanted, limit)).await;
        let damaged = fetched.as_ref().is_err_and(|failure| failure.reason == Reason::Corrupt);
        if is_new && fetched.is_err() || damaged {
            // Of a first fetch nothing is of use, and the next one is to have a clone's time again.
            repair::remove(&path).await?;
        }
        if fetched.is_ok() {
            self.tidy(&path).await;
        }
        drop(held);
        let (repositories, bound) = (self.base.join("repositories"), self.bound);
        blocking(move || evict::make_room(&repositories, bound, &key)).await?;
        fetched
    }

    /// Makes the copy usable: a new one, or what a killed fetch left, without its remains. Tells whether it is new.
    async fn prepare(&self, key: &str) -> Result<bool, Failure> {
        let path = self.file(key, "git");
        if path.is_dir() {
            blocking(move || repair::clear(&path)).await?;
            return Ok(false);
        }
        // Complete before it has its name: half a repository is never taken for one.
        let unfinished = self.file(key, "new");
        repair::remove(&unfinished).await?;
        let operand = unfinished.to_string_lossy().into_owned();
        self.git.call(&["init", "--quiet", "--bare", "--template="]).operands([operand.as_str()]).run("make a repository").await?;
        blocking(move || repair::finish(&unfinished, &path)).await?;
        Ok(true)
    }

    async fn fetch_commit(&self, remote: &Remote, path: &Path, wanted: Wanted<'_>, limit: Duration) -> Result<(), Failure> {
        let Wanted { commit, branch } = wanted;
        match branch {
            Some(branch) => {
                // A name of one segment: `a` and `a/b` never stand in each other's way.
                let name = hex::encode(&Sha256::digest(branch.as_str())[..16]);
                self.fetch_refs(remote, path, &format!("+{}:refs/branches/{name}", branch.full()), limit).await?;
            }
            None => match self.fetch_refs(remote, path, &format!("+{commit}:refs/commits/{commit}"), limit).await {
                // Not all servers give commits by their ids.
                Err(failure) if failure.reason == Reason::MissingCommit => {
                    self.fetch_refs(remote, path, "+refs/heads/*:refs/heads/*", limit).await?;
                }
                fetched => fetched?,
            },
        }
        match (self.holds(path, commit).await?, branch) {
            (true, _) => Ok(()),
            (false, Some(branch)) => {
                Err(Failure::new(Reason::Moved, format!("the branch {} of {} does not hold {commit}", branch.as_str(), remote.url)))
            }
            (false, None) => Err(Failure::new(Reason::MissingCommit, format!("{} has no commit {commit}", remote.url))),
        }
    }

    async fn fetch_refs(&self, remote: &Remote, path: &Path, refs: &str, limit: Duration) -> Result<(), Failure> {
        let options = ["fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--prune", "--force", "--quiet"];
        let call = self.git.call(&options).operands([remote.url.as_str(), refs]).on(path).access(&remote.access);
        call.within(limit).run(&format!("fetch {}", remote.url)).await.map(drop)
    }

    /// Packs what many fetches brought; a failure costs disk only.
    async fn tidy(&self, path: &Path) {
        let packed = self.git.call(&["gc", "--auto", "--quiet"]).on(path).within(self.clone_limit).run("pack a repository").await;
        if let Err(failure) = packed {
            tracing::warn!(%failure, "a repository was not packed");
        }
    }
}
