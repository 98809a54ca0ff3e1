//! Read: text files of a commit.

use std::collections::BTreeMap;

use feature_api::git::{File, ReadResponse};

use crate::cache::{Cache, Remote, Repository};
use crate::counts::{Operation, counted};
use crate::failure::{Failure, Reason};
use crate::patch::is_safe_path;
use crate::request::CommitId;

/// Most paths of a request.
const MOST_PATHS: usize = 100;
/// Largest file, in bytes.
const LARGEST_FILE: usize = 256 << 10;
/// Most bytes of all files of an answer.
const LARGEST_ANSWER: usize = 8 << 20;

/// Reads the files that are there, are text and not too large; the rest is named as skipped.
///
/// # Errors
/// [`Failure`] of git or the remote.
pub(crate) async fn read(cache: &Cache, remote: &Remote, commit: &CommitId, paths: &[String]) -> Result<ReadResponse, Failure> {
    if paths.len() > MOST_PATHS {
        return Err(Failure::new(Reason::Invalid, format!("at most {MOST_PATHS} paths are read at a time")));
    }
    let repository = cache.with_commit(remote, commit, None).await?;
    let files = counted(Operation::Read, read_here(cache, &repository, commit, paths)).await;
    cache.judged(repository, files).await
}

async fn read_here(cache: &Cache, repository: &Repository, commit: &CommitId, paths: &[String]) -> Result<ReadResponse, Failure> {
    let asked: Vec<&str> = paths.iter().map(String::as_str).filter(|path| is_safe_path(path)).collect();
    let blobs = if asked.is_empty() { BTreeMap::new() } else { find(cache, repository, commit, &asked).await? };
    let wanted: Vec<&Blob> = paths.iter().filter_map(|path| blobs.get(path)).collect();
    let mut contents = contents(cache, repository, &wanted).await?;
    let mut response = ReadResponse::default();
    for path in paths {
        match blobs.get(path).and_then(|blob| contents.remove(&blob.id)) {
            Some(content) => {
                // Two paths may have one content.
                contents.insert(blobs[path].id.clone(), content.clone());
                response.files.push(File { path: path.clone(), content });
            }
            None => response.skipped.push(path.clone()),
        }
    }
    Ok(response)
}

struct Blob {
    id: String,
    size: usize,
}

/// Finds regular files that are not too large, by their paths.
async fn find(cache: &Cache, repository: &Repository, commit: &CommitId, paths: &[&str]) -> Result<BTreeMap<String, Blob>, Failure> {
    let call = cache.git().call(&["ls-tree", "-z", "--long", "--full-tree", commit.as_str()]).operands(paths.iter().copied());
    let output = call.on(repository.path()).run("find files").await?;
    let mut blobs = BTreeMap::new();
    for entry in output.stdout.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok()) {
        let Some((head, path)) = entry.split_once('\t') else { continue };
        let fields: Vec<&str> = head.split_whitespace().collect();
        if let [mode, "blob", id, size] = fields[..]
            && ["100644", "100755"].contains(&mode)
            && let Some(size) = size.parse().ok().filter(|size| *size <= LARGEST_FILE)
        {
            blobs.insert(path.to_owned(), Blob { id: id.to_owned(), size });
        }
    }
    Ok(blobs)
}

/// Reads texts by their ids, as many as the answer may hold.
async fn contents(cache: &Cache, repository: &Repository, blobs: &[&Blob]) -> Result<BTreeMap<String, String>, Failure> {
    let (mut ids, mut total) = (String::new(), 0);
    for blob in blobs {
        if total + blob.size <= LARGEST_ANSWER {
            total += blob.size;
            ids.push_str(&blob.id);
            ids.push('\n');
        }
    }
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let folder = cache.folder()?;
    let list = folder.file("ids");
    tokio::fs::write(&list, ids).await.map_err(|error| Failure::internal("failed to write a list of files", &error))?;
    let call = cache.git().call(&["cat-file", "--batch"]).on(repository.path()).input(&list);
    let output = call.at_most(LARGEST_ANSWER + (64 << 10)).run("read files").await?;
    split_batch(&output.stdout).ok_or_else(|| Failure::new(Reason::Corrupt, "git's answer with the files broke off"))
}

/// Splits `ID blob SIZE`, content, line break, again and again; leaves out what is not text.
fn split_batch(mut rest: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        let mut fields = head.split(' ');
        let (id, kind, size) = (fields.next()?, fields.next()?, fields.next()?.parse::<usize>().ok()?);
        let content = rest.get(end + 1..end + 1 + size).filter(|_| kind == "blob")?;
        if let Some(text) = std::str::from_utf8(content).ok().filter(|text| !text.contains('\0')) {
            contents.insert(id.to_owned(), text.to_owned());
        }
        rest = rest.get(end + 2 + size..)?;
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_told_apart_from_the_rest() {
        let answer = b"aa blob 3\nx\ny\nbb blob 2\n\xff\xfe\ncc blob 2\na\0\ndd blob 0\n\n";
        let contents = split_batch(answer).unwrap();
        assert_eq!(contents, BTreeMap::from([("aa".to_owned(), "x\ny".to_owned()), ("dd".to_owned(), String::new())]));
        for broken in [&b"aa blob 9\nx"[..], b"aa missing\n", b"aa tree 1\nx\n", b"aa"] {
            assert!(split_batch(broken).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            split_batch(&answer);
        }
    }
}
