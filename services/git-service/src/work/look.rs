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
    read_head(&said, url, branch)
}

/// Reads what `git ls-remote --symref` says of a branch, or of the default one.
fn read_head(said: &str, url: &str, branch: Option<&BranchName>) -> Result<(BranchName, CommitId), Failure> {
    let name = branch.map_or_else(|| "HEAD".to_owned(), BranchName::full);
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
    Ok(paths_of(&call.run("list the files").await?.stdout))
}

/// Reads the paths of regular files from what `git ls-tree -z` says, sorted; tells whether some are left out.
fn paths_of(listed: &[u8]) -> (Vec<String>, bool) {
    let entries = listed.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"100"));
    // A name that is not UTF-8 can't be asked for either.
    let mut paths: Vec<String> =
        entries.filter_map(|entry| Some(std::str::from_utf8(entry).ok()?.split_once('\t')?.1.to_owned())).collect();
    paths.sort_unstable();
    let truncated = paths.len() > MOST_PATHS;
    paths.truncate(MOST_PATHS);
    (paths, truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    proptest! {
        #[test]
        fn whatever_a_remote_says_a_head_is_a_good_name_and_a_good_id(
            lines in "(ref: )?(refs/heads/)?[a-z.~^ -]{0,8}\\t?(HEAD|refs/heads/main)?\n?",
            id in prop_oneof![Just(ID.to_owned()), "[0-9a-fA-F-]{0,41}"],
            branch in "\\PC{0,10}",
        ) {
            let main = BranchName::parse("main").unwrap();
            for said in [lines.clone(), format!("ref: refs/heads/{branch}\tHEAD\n{id}\tHEAD\n"), format!("{id}\trefs/heads/main\n{lines}")] {
                for asked in [None, Some(&main)] {
                    if let Ok((name, head)) = read_head(&said, "https://example.com/x", asked) {
                        prop_assert!(asked.is_none_or(|asked| *asked == name));
                        prop_assert!(BranchName::parse(name.as_str()).is_ok() && CommitId::parse(head.as_str()).is_ok());
                    }
                }
            }
        }

        #[test]
        fn any_listing_is_read_as_sorted_paths(bytes in any::<Vec<u8>>(), mode in "(100644|120000|160000)", path in "[^\\x00\\t]{1,20}") {
            let listed = [bytes, format!("\0{mode} blob {ID}\t{path}\0").into_bytes()].concat();
            let (paths, _) = paths_of(&listed);
            prop_assert!(paths.is_sorted());
            prop_assert!(mode != "100644" || paths.contains(&path));
        }
    }

    #[test]
    fn a_head_is_that_of_the_branch_or_of_the_default_one() {
        let said = format!("ref: refs/heads/main\tHEAD\n{ID}\tHEAD\n");
        let (name, head) = read_head(&said, "u", None).unwrap();
        assert_eq!((name.as_str(), head.as_str()), ("main", ID));
        assert!(read_head(&format!("{ID}\tHEAD\n"), "u", None).unwrap_err().message.contains("has no default branch"));
        assert!(read_head("", "u", None).unwrap_err().message.contains("is empty"));
        let other = BranchName::parse("other").unwrap();
        assert!(read_head(&said, "u", Some(&other)).unwrap_err().message.contains("has no branch other"));
    }
}
