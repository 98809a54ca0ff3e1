//! Apply: a patch becomes a commit on a branch of its own.

use std::path::Path;

use feature_api::git::ApplyResponse;

use crate::cache::{Cache, Remote, Repository};
use crate::counts::{Operation, counted};
use crate::failure::{Failure, Reason};
use crate::git::Call;
use crate::patch::{Patch, is_safe_path};
use crate::request::{BranchName, CommitId, CommitWords};

/// How often a push is tried when another one is at the same branch.
const PUSHES: u32 = 3;

/// A change, checked.
pub(crate) struct Change {
    /// Commit that it starts from.
    pub(crate) base: CommitId,
    /// Branch that is made.
    pub(crate) branch: BranchName,
    /// What changes.
    pub(crate) patch: Patch,
    /// What the commit says.
    pub(crate) words: CommitWords,
}

struct Commit {
    id: CommitId,
    tree: String,
    paths: Vec<String>,
}

/// Applies the patch, commits and pushes; the same change makes the same commit, and one that is there already is success.
///
/// # Errors
/// [`Failure`] of git or the remote; [`Reason::Patch`] if the patch does not fit the base or changes nothing; [`Reason::Conflict`] if
/// the branch is there with another commit.
pub(crate) async fn apply(cache: &Cache, remote: &Remote, change: &Change) -> Result<ApplyResponse, Failure> {
    let repository = cache.with_commit(remote, &change.base, None).await?;
    let applied = async {
        let made = counted(Operation::Commit, commit(cache, &repository, change)).await?;
        let repeated = counted(Operation::Push, push(cache, remote, &repository, (&change.branch, &made.id))).await?;
        Ok(ApplyResponse { commit: made.id.to_string(), tree: made.tree, paths: made.paths, repeated })
    };
    let applied = applied.await;
    cache.judged(repository, applied).await
}

/// Makes the commit in an index of its own; no file of the repository is ever written out.
async fn commit(cache: &Cache, repository: &Repository, change: &Change) -> Result<Commit, Failure> {
    let folder = cache.folder()?;
    let (index, patch, message) = (folder.file("index"), folder.file("patch"), folder.file("message"));
    let written = async {
        tokio::fs::write(&patch, change.patch.to_string()).await?;
        tokio::fs::write(&message, &change.words.message).await
    };
    written.await.map_err(|error| Failure::internal("failed to write a patch", &error))?;
    let base = change.base.as_str();
    let on_index = |arguments: &[&str]| on_index(cache, repository, &index, arguments);
    on_index(&["read-tree", base]).run("read the base").await?;
    let patch = patch.to_string_lossy().into_owned();
    let applied =
        on_index(&["apply", "--cached", "--whitespace=nowarn"]).operands([patch.as_str()]).run_to_any_end("apply the patch").await?;
    if !applied.success {
        // Whatever git says here it says of the patch.
        let said = Failure::of_git("apply the patch", &applied.stderr, &[]);
        return Err(Failure::new(Reason::Patch, said.message));
    }
    let tree = one_line(&on_index(&["write-tree"]).run("write the tree").await?.text());
    let difference = ["diff-tree", "-r", "-z", "--raw", "--no-renames", base, &tree];
    let difference = on_index(&difference).at_most(16 << 20).run("compare the trees").await?;
    let paths = judge_difference(&difference.stdout, &change.patch.paths())?;
    let message = message.to_string_lossy().into_owned();
    let (name, address) = cache.committer();
    let mut call = on_index(&["commit-tree", &tree, "-p", base, "-F", &message]);
    for (variable, value) in [
        ("GIT_AUTHOR_NAME", name),
        ("GIT_AUTHOR_EMAIL", address),
        ("GIT_AUTHOR_DATE", &change.words.time),
        ("GIT_COMMITTER_NAME", name),
        ("GIT_COMMITTER_EMAIL", address),
        ("GIT_COMMITTER_DATE", &change.words.time),
    ] {
        call = call.variable(variable, value);
    }
    let id = CommitId::parse(&one_line(&call.run("commit").await?.text()))?;
    Ok(Commit { id, tree, paths })
}

fn on_index<'a>(cache: &'a Cache, repository: &Repository, index: &Path, arguments: &[&str]) -> Call<'a> {
    cache.git().call(arguments).on(repository.path()).variable("GIT_INDEX_FILE", index)
}

fn one_line(text: &str) -> String {
    text.trim().to_owned()
}

/// Looks at what really changed: regular files only, and none that the patch does not name. Returns their paths, sorted.
///
/// The patch itself was checked; this holds also for what it was applied to, such as a link that it would turn elsewhere.
fn judge_difference(raw: &[u8], named: &[&str]) -> Result<Vec<String>, Failure> {
    let refused = |why: &str| Failure::new(Reason::Patch, format!("failed to apply the patch: {why}"));
    let mut paths = Vec::new();
    let mut fields = raw.split(|byte| *byte == 0).filter(|field| !field.is_empty()).map(String::from_utf8_lossy);
    while let (Some(modes), Some(path)) = (fields.next(), fields.next()) {
        let after = modes.split(' ').nth(1).unwrap_or_default();
        if !["100644", "100755", "000000"].contains(&after) {
            return Err(refused("it changes a link or a submodule"));
        }
        if !is_safe_path(&path) || named.binary_search(&path.as_ref()).is_err() {
            return Err(refused("it changes what it does not name"));
        }
        paths.push(path.into_owned());
    }
    paths.sort_unstable();
    if paths.is_empty() { Err(refused("it changes nothing")) } else { Ok(paths) }
}

/// Pushes to a branch that must not be there, or be the same commit already; tells whether it was.
async fn push(cache: &Cache, remote: &Remote, repository: &Repository, (branch, id): (&BranchName, &CommitId)) -> Result<bool, Failure> {
    let (url, name) = (remote.url.as_str(), branch.full());
    let what = format!("push to {url}");
    // An empty expectation: the branch is not there.
    let lease = format!("--force-with-lease={name}:");
    let mut last = Failure::new(Reason::Other, format!("failed to {what}"));
    for _ in 0..PUSHES {
        let call = cache.git().call(&["push", "--porcelain", "--no-verify", &lease]).operands([url, &format!("{id}:{name}")]);
        let output = call.on(repository.path()).access(&remote.access).run_to_any_end(&what).await?;
        let said = output.text();
        match (told(&said, &name), output.success) {
            (Some(('*', _)), true) => return Ok(false),
            (Some(('=', _)), true) => return Ok(true),
            (Some(('!', why)), _) if why.starts_with("[rejected]") => {
                return Err(Failure::new(Reason::Conflict, format!("the branch {} of {url} is another commit", branch.as_str())));
            }
            (Some(('!', why)), _) if why.starts_with("[remote rejected]") => {
                // Another push may have come first, with the same commit: the next round sees it.
                let why = crate::failure::clean(why, &[]);
                last = Failure::new(Reason::Rejected, format!("failed to {what}: {why}"));
            }
            _ => {
                let secrets = crate::git::credentials::Access::secrets(Some(&remote.access));
                return Err(Failure::of_git(&what, &output.stderr, &secrets));
            }
        }
    }
    Err(last)
}

/// Finds what a push says of a branch: a flag and its reason.
fn told<'a>(said: &'a str, name: &str) -> Option<(char, &'a str)> {
    said.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let (flag, refs, why) = (fields.next()?, fields.next()?, fields.next()?);
        let of_branch = refs.split_once(':').is_some_and(|(_, found)| found == name);
        of_branch.then(|| flag.chars().next().map(|flag| (flag, why))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_differs_only_named_safe_paths_are_taken(raw in "(:[0-9]{6} (100644|120000|000000) a b M\\x00(x|y|\\.\\./x|\\.git/x)\\x00){0,3}", bytes in any::<Vec<u8>>()) {
            for raw in [raw.into_bytes(), bytes] {
                if let Ok(paths) = judge_difference(&raw, &["../x", ".git/x", "x"]) {
                    prop_assert!(paths.iter().all(|path| path == "x"), "{paths:?}");
                }
            }
        }

        #[test]
        fn whatever_a_push_says_is_of_its_branch_or_nothing(said in "([!*=+ -]\\t[a-z:/]{0,30}\\t[ -~]{0,20}\n){0,3}") {
            if let Some((flag, _)) = told(&said, "refs/heads/f") {
                prop_assert!(said.lines().any(|line| line.starts_with(flag) && line.contains(":refs/heads/f")));
            }
        }
    }

    #[test]
    fn only_regular_files_that_the_patch_names_may_differ() {
        let check = |raw: &str, named: &[&str]| judge_difference(raw.replace('|', "\0").as_bytes(), named);
        assert_eq!(check(":100644 100644 a b M|y|:000000 100755 a b A|x|", &["x", "y"]).unwrap(), ["x", "y"]);
        assert_eq!(check(":120000 000000 a b D|x|", &["x"]).unwrap(), ["x"]);
        for (raw, named, why) in [
            (":120000 120000 a b M|x|", &["x"][..], "it changes a link or a submodule"),
            (":000000 160000 a b A|x|", &["x"], "it changes a link or a submodule"),
            (":100644 100644 a b M|x|", &["y"], "it changes what it does not name"),
            (":100644 100644 a b M|.git/x|", &[".git/x"], "it changes what it does not name"),
            ("", &["y"], "it changes nothing"),
        ] {
            assert_eq!(check(raw, named).unwrap_err().message, format!("failed to apply the patch: {why}"), "{raw}");
        }
    }

    #[test]
    fn a_push_is_judged_by_its_own_branch() {
        let said = "To x\n=\taa:refs/heads/other\t[up to date]\n!\taa:refs/heads/f\t[rejected] (stale info)\nDone\n";
        assert_eq!(told(said, "refs/heads/f"), Some(('!', "[rejected] (stale info)")));
        assert_eq!(told(said, "refs/heads/g"), None);
    }
}
