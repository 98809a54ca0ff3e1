//! The calls that others make: `feature.repository.v1.RepositoryService`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use feature_api::UrlRules;
use feature_api::repository::{
    ListRequest, ListResponse, RecordHeadRequest, RegisterRequest, RemoveRequest, RemoveResponse, Repository, ResolveRequest,
};
use service_kit::rpc::{Rpc, RpcError};
use sqlx::PgPool;

use crate::{request, store};

/// What the calls need.
pub(crate) struct Service {
    pub(crate) pool: PgPool,
    pub(crate) rules: UrlRules,
}

type Shared = State<Arc<Service>>;

/// Makes the routes.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/feature.repository.v1.RepositoryService/Register", post(register))
        .route("/feature.repository.v1.RepositoryService/Resolve", post(resolve))
        .route("/feature.repository.v1.RepositoryService/List", post(list))
        .route("/feature.repository.v1.RepositoryService/RecordHead", post(record_head))
        .route("/feature.repository.v1.RepositoryService/Remove", post(remove))
        .with_state(service)
}

async fn register(State(service): Shared, Rpc(request): Rpc<RegisterRequest>) -> Result<Rpc<Repository>, RpcError> {
    let url = request::url(&request.url, &service.rules)?;
    let credential = request::credential(request.credential)?;
    let default_branch = request::default_branch(request.default_branch)?;
    store::register(&service.pool, &url, credential, default_branch).await.map(Rpc)
}

async fn resolve(State(service): Shared, Rpc(request): Rpc<ResolveRequest>) -> Result<Rpc<Repository>, RpcError> {
    let url = request::url(&request.url, &service.rules)?;
    store::resolve(&service.pool, &url).await.map(Rpc)
}

async fn list(State(service): Shared, Rpc(request): Rpc<ListRequest>) -> Result<Rpc<ListResponse>, RpcError> {
    let (after, limit) = (request::after(request.after)?, request::limit(request.limit)?);
    let (repositories, next) = store::list(&service.pool, &after, limit).await?;
    Ok(Rpc(ListResponse { repositories, next }))
}

async fn record_head(State(service): Shared, Rpc(request): Rpc<RecordHeadRequest>) -> Result<Rpc<Repository>, RpcError> {
    let url = request::url(&request.url, &service.rules)?;
    request::branch("branch", &request.branch)?;
    request::head(&request.head)?;
    let known = store::record_head(&service.pool, &url, &request.branch, &request.head).await?;
    known.map(Rpc).ok_or_else(|| RpcError::not_found("the repository is not known"))
}

async fn remove(State(service): Shared, Rpc(request): Rpc<RemoveRequest>) -> Result<Rpc<RemoveResponse>, RpcError> {
    let url = request::url(&request.url, &service.rules)?;
    store::remove(&service.pool, &url).await?;
    Ok(Rpc(RemoveResponse {}))
}
