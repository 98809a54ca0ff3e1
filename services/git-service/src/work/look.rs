//! Look: a branch's commit and the paths of its files.

use feature_api::git::LookResponse;

use crate::cache::{Cache, Remote, Repository};
use crate::counts::{Operation, counted};
use crate::failure::{Failure, Reason};
use crate::request::{BranchName, CommitId};

/// Most paths that are told.
const MOST_PATHS: usize = 5000;
/// Most bytes that git may list.
const LISTED: usize = 64 << 20;

/// Asks the remote for the branch's commit, fetches it if it is not here, and lists its files.
///
/// # Errors
/// [`Failure`] of git or the remote; [`Reason::MissingCommit`] if there is no such branch, or nothing at all.
pub(crate) async fn look(cache: &Cache, remote: &Remote, branch: Option<&BranchName>) -> Result<LookResponse, Failure> {
    let (branch, head) = counted(Operation::List, find_head(cache, remote, branch)).await?;
    let repository = cache.with_commit(remote, &head, Some(&branch)).await?;
    let listed = counted(Operation::Read, list(cache, &repository, &head)).await;
    let (paths, truncated) = cache.judged(repository, listed).await?;
    Ok(LookResponse { branch: branch.as_str().to_owned(), head: head.to_string(), paths, truncated })
}

async fn find_head(cache: &Cache, remote: &Remote, branch: Option<&BranchName>) -> Result<(BranchName, CommitId), Failure> {
    let url = remote.url.as_str();
    let name = branch.map_or_else(|| "HEAD".to_owned(), BranchName::full);
    let call = cache.git().call(&["ls-remote", "--symref", "--quiet"]).operands([url, &name]).access(&remote.access);
    let said = call.run(&format!("look at {url}")).await?.text();
    let missing = |what: &str| Failure::new(Reason::MissingCommit, format!("{url} {what}"));
    let ids = said.lines().filter_map(|line| line.split_once('\t'));
    let head = ids.filter(|(id, found)| !id.starts_with("ref:") && *found == name).map(|(id, _)| CommitId::parse(id)).next();
    let Some(branch) = branch else {
        let head = head.ok_or_else(|| missing("is empty, or has no default branch"))??;
        let targets = said.lines().filter_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
        let default = targets.map(BranchName::parse).next().ok_or_else(|| missing("has no default branch"))??;
        return Ok((default, head));
    };
    let head = head.ok_or_else(|| missing(&format!("has no branch {}", branch.as_str())))??;
    Ok((branch.clone(), head))
}

/// Lists regular files: what is behind links and submodules is not of this repository.
async fn list(cache: &Cache, repository: &Repository, commit: &CommitId) -> Result<(Vec<String>, bool), Failure> {
    let call = cache.git().call(&["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]).on(repository.path()).at_most(LISTED);
    let output = call.run("list the files").await?;
    let entries = output.stdout.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"100"));
    // A name that is not UTF-8 can't be asked for either.
    let mut paths: Vec<String> =
        entries.filter_map(|entry| Some(std::str::from_utf8(entry).ok()?.split_once('\t')?.1.to_owned())).collect();
    paths.sort_unstable();
    let truncated = paths.len() > MOST_PATHS;
    paths.truncate(MOST_PATHS);
    Ok((paths, truncated))
}
