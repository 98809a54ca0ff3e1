//! The metrics of git operations: each is fed here and nowhere else.

use std::future::Future;
use std::time::Instant;

use metrics::{counter, histogram};

use crate::failure::{Failure, Reason};

/// What is done with git; the label of `git_operations_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Asks a remote for its branches.
    List,
    /// Fetches a repository that is not in the cache.
    Clone,
    /// Fetches into a cached repository.
    Fetch,
    /// Reads from a cached repository.
    Read,
    /// Makes a commit of a patch.
    Commit,
    /// Pushes a commit.
    Push,
    /// Streams a commit's files.
    Archive,
}

impl Operation {
    fn label(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Clone => "clone",
            Self::Fetch => "fetch",
            Self::Read => "read",
            Self::Commit => "commit",
            Self::Push => "push",
            Self::Archive => "archive",
        }
    }
}

/// An operation under way; one that is dropped was given up by its caller.
pub(crate) struct Counted {
    operation: Operation,
    started: Instant,
    open: bool,
}

impl Counted {
    /// Begins to count.
    pub(crate) fn start(operation: Operation) -> Self {
        Self { operation, started: Instant::now(), open: true }
    }

    /// Counts the end; a failure by its reason.
    pub(crate) fn end(mut self, failed: Option<Reason>) {
        self.open = false;
        self.count(if failed.is_some() { "failed" } else { "completed" }, failed.map(Reason::label));
    }

    fn count(&self, outcome: &'static str, reason: Option<&'static str>) {
        let operation = self.operation.label();
        let seconds = self.started.elapsed().as_secs_f64();
        counter!("git_operations_total", "operation" => operation, "outcome" => outcome).increment(1);
        if let Some(reason) = reason {
            counter!("git_operations_errors_total", "operation" => operation, "reason" => reason).increment(1);
        }
        match self.operation {
            Operation::Clone => histogram!("git_clone_duration_seconds", "outcome" => outcome).record(seconds),
            Operation::Push => histogram!("git_push_duration_seconds", "outcome" => outcome).record(seconds),
            _ => {}
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.open {
            self.count("cancelled", None);
        }
    }
}

/// Counts what `work` does.
pub(crate) async fn counted<T>(operation: Operation, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let counted = Counted::start(operation);
    let result = work.await;
    counted.end(result.as_ref().err().map(|failure| failure.reason));
    result
}
