//! The service's methods: requests in, checked, answers out.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use feature_api::git::{ApplyRequest, ApplyResponse, ArchiveRequest, LookRequest, LookResponse, ReadRequest, ReadResponse};
use feature_api::{RepositoryUrl, UrlRules};
use service_kit::rpc::{Rpc, RpcError};
use tokio_stream::wrappers::ReceiverStream;

use crate::cache::{Cache, Remote};
use crate::git::credentials::Credentials;
use crate::patch;
use crate::request::{BranchName, CommitId, CommitWords};
use crate::work::apply::Change;
use crate::work::{apply, archive, look, read};

/// Largest request: a patch as JSON, where a character may take six.
const LARGEST_REQUEST: usize = 6 * patch::LARGEST;

/// What all requests share.
pub(crate) struct Service {
    /// Cached repositories.
    pub(crate) cache: Cache,
    /// Credentials by name.
    pub(crate) credentials: Credentials,
    /// Which URLs are taken.
    pub(crate) rules: UrlRules,
}

/// Makes the routes.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/feature.git.v1.GitService/Look", post(answer_look))
        .route("/feature.git.v1.GitService/Read", post(answer_read))
        .route("/feature.git.v1.GitService/Apply", post(answer_apply))
        .route("/feature.git.v1.GitService/Archive", post(answer_archive))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(service)
}

impl Service {
    fn remote(&self, remote: Option<feature_api::git::Remote>) -> Result<Remote, RpcError> {
        let remote = remote.ok_or_else(|| RpcError::invalid("remote is not set"))?;
        let url = RepositoryUrl::parse(&remote.url, &self.rules).map_err(|error| RpcError::invalid(error.to_string()))?;
        let credential = remote.credential.filter(|name| !name.is_empty());
        let access = self.credentials.access(&url, credential.as_deref())?;
        Ok(Remote { url, access, credential })
    }
}

async fn answer_look(State(service): State<Arc<Service>>, Rpc(request): Rpc<LookRequest>) -> Result<Rpc<LookResponse>, RpcError> {
    let remote = service.remote(request.remote)?;
    let branch = request.branch.as_deref().map(BranchName::parse).transpose()?;
    Ok(Rpc(look::look(&service.cache, &remote, branch.as_ref()).await?))
}

async fn answer_read(State(service): State<Arc<Service>>, Rpc(request): Rpc<ReadRequest>) -> Result<Rpc<ReadResponse>, RpcError> {
    let remote = service.remote(request.remote)?;
    let commit = CommitId::parse(&request.commit)?;
    Ok(Rpc(read::read(&service.cache, &remote, &commit, &request.paths).await?))
}

async fn answer_apply(State(service): State<Arc<Service>>, Rpc(request): Rpc<ApplyRequest>) -> Result<Rpc<ApplyResponse>, RpcError> {
    let remote = service.remote(request.remote)?;
    let change = Change {
        base: CommitId::parse(&request.base)?,
        branch: BranchName::parse_ours(&request.branch)?,
        patch: patch::parse(&request.patch).map_err(|error| RpcError::invalid(error.to_string()))?,
        words: CommitWords::parse(&request.message, &request.committed_at, &request.step_id)?,
    };
    Ok(Rpc(apply::apply(&service.cache, &remote, &change).await?))
}

async fn answer_archive(State(service): State<Arc<Service>>, Rpc(request): Rpc<ArchiveRequest>) -> Result<Response, RpcError> {
    let remote = service.remote(request.remote)?;
    let commit = CommitId::parse(&request.commit)?;
    let branch = Some(request.branch.as_str()).filter(|branch| !branch.is_empty()).map(BranchName::parse).transpose()?;
    let limit = service.cache.operation_limit();
    let pieces = archive::archive(&service.cache, &remote, (branch.as_ref(), &commit), limit).await?;
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok(([(CONTENT_TYPE, "application/x-tar")], body).into_response())
}
