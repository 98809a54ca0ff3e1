//! Archive: a commit's files as a tar stream, without a file in between.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::cache::{Cache, Remote, Repository};
use crate::counts::{Counted, Operation};
use crate::failure::{Failure, Reason};
use crate::git::Running;
use crate::request::{BranchName, CommitId};

/// Pieces that wait for a slow client.
const WAITING: usize = 4;
/// Size of a piece, in bytes.
const PIECE: usize = 64 << 10;

/// A piece, or why the archive is not complete.
pub(crate) type Piece = Result<Bytes, io::Error>;

/// Starts to stream; git ends when the receiver is dropped, or after `limit`.
///
/// # Errors
/// [`Failure`] of the fetch. A later one is the last piece.
pub(crate) async fn archive(
    cache: &Cache,
    remote: &Remote,
    (branch, commit): (Option<&BranchName>, &CommitId),
    limit: Duration,
) -> Result<Receiver<Piece>, Failure> {
    let repository = cache.with_commit(remote, commit, branch).await?;
    let running = cache.git().call(&["archive", "--format=tar", commit.as_str()]).on(repository.path()).start().await?;
    let (sender, receiver) = channel(WAITING);
    tokio::spawn(stream(running, repository, sender, limit));
    Ok(receiver)
}

/// Passes the archive on; holds the repository until it is complete.
async fn stream(mut running: Running, repository: Repository, sender: Sender<Piece>, limit: Duration) {
    let counted = Counted::start(Operation::Archive);
    let passed = tokio::select! {
        passed = timeout(limit, pass(&mut running, &sender)) => passed,
        // Nobody reads any more: dropped without an end, it counts as cancelled, and git ends with this.
        () = sender.closed() => return,
    };
    drop(repository);
    let over = || Failure::new(Reason::Timeout, format!("the archive took longer than {} s", limit.as_secs()));
    let passed = passed.unwrap_or_else(|_| Err(over()));
    counted.end(passed.as_ref().err().map(|failure| failure.reason));
    if let Err(failure) = passed {
        tracing::warn!(%failure, "an archive broke off");
        // Fails only if nobody reads any more.
        drop(sender.send(Err(io::Error::other(failure.message))).await);
    }
}

async fn pass(running: &mut Running, sender: &Sender<Piece>) -> Result<(), Failure> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut running.stdout).take(PIECE as u64).read_to_end(&mut piece).await;
        if read.map_err(|error| Failure::internal("failed to read an archive", &error))? == 0 {
            break;
        }
        if sender.send(Ok(piece.into())).await.is_err() {
            // The one who waits for the receiver's end comes to it.
            std::future::pending::<()>().await;
        }
    }
    let (success, stderr) = running.wait().await?;
    if success { Ok(()) } else { Err(Failure::of_git("make an archive", &stderr, &[])) }
}
