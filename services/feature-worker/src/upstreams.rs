//! The services that do the work, and the object store, as the worker sees them.

mod objects;
mod sandbox;
mod services;

#[cfg(test)]
pub(crate) mod memory;

use std::future::Future;
use std::time::Duration;

use feature_api::git::{ApplyRequest, ApplyResponse, ArchiveRequest, LookRequest, LookResponse, ReadRequest, ReadResponse};
use feature_api::llm::{PatchRequest, PatchResponse, PlanRequest, PlanResponse};
use feature_api::repository::{RecordHeadRequest, Repository};
use feature_api::sandbox::Spec;
use service_kit::rpc::{Code, RpcError};
use thiserror::Error;

pub(crate) use objects::{Objects, StoreAddress};
pub(crate) use services::{Addresses, Services};

/// Why an upstream did not do what was asked; the words are for people and hold no secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub(crate) struct UpstreamError {
    pub(crate) message: String,
    /// Whether the same call may succeed later.
    pub(crate) transient: bool,
    /// How long the other side asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl UpstreamError {
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true, retry_after: None }
    }
}

impl From<RpcError> for UpstreamError {
    fn from(error: RpcError) -> Self {
        // A service answers so as well when it met something that it did not expect, as its database going away.
        let transient = error.is_transient() || error.code == Code::Internal;
        Self { transient, retry_after: error.retry_after, message: error.message }
    }
}

/// A command that ran in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) timed_out: bool,
    /// Whether output was left out, by the sandbox or here.
    pub(crate) truncated: bool,
    pub(crate) duration_ms: u32,
    pub(crate) isolation: Vec<String>,
    /// What it wrote, both streams as they came.
    pub(crate) log: String,
}

/// A file for the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
    /// SHA-256 of the body, in hex.
    pub(crate) sha256: String,
    /// When it may be removed: seconds since 1970, UTC.
    pub(crate) expires_at: i64,
}

/// What the worker asks of others. Each call may be repeated with the same request and then does nothing more.
pub(crate) trait Upstreams: Send + Sync + 'static {
    /// Returns what is known of a repository.
    fn resolve(&self, url: &str) -> impl Future<Output = Result<Repository, UpstreamError>> + Send;
    /// Notes where a branch was seen.
    fn record_head(&self, request: RecordHeadRequest) -> impl Future<Output = Result<(), UpstreamError>> + Send;
    /// Fetches a repository and lists its files.
    fn look(&self, request: LookRequest) -> impl Future<Output = Result<LookResponse, UpstreamError>> + Send;
    /// Reads files of a commit.
    fn read(&self, request: ReadRequest) -> impl Future<Output = Result<ReadResponse, UpstreamError>> + Send;
    /// Applies a patch, commits and pushes.
    fn apply(&self, request: ApplyRequest) -> impl Future<Output = Result<ApplyResponse, UpstreamError>> + Send;
    /// Plans a change.
    fn plan(&self, request: PlanRequest) -> impl Future<Output = Result<PlanResponse, UpstreamError>> + Send;
    /// Writes a change.
    fn patch(&self, request: PatchRequest) -> impl Future<Output = Result<PatchResponse, UpstreamError>> + Send;
    /// Runs a command on the tree of a commit.
    fn run(&self, tree: ArchiveRequest, spec: Spec) -> impl Future<Output = Result<Ran, UpstreamError>> + Send;
    /// Stores a file.
    fn store(&self, object: Object) -> impl Future<Output = Result<(), UpstreamError>> + Send;
}
