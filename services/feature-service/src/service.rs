//! The calls that clients make: `feature.feature.v1.FeatureService`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extracted;
use axum::http::HeaderMap;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use feature_api::UrlRules;
use feature_api::feature::{
    CancelRequest, CancelResponse, CreateRequest, CreateResponse, Feature, GetRequest, ListRequest, ListResponse, State, Step,
    TimelineResponse, WatchRequest,
};
use feature_store::{Creation, Store, StoreError, Transition};
use service_kit::rpc::{Rpc, RpcError};

use crate::artifacts::Signer;
use crate::failure::rpc_error;
use crate::figures;
use crate::intake::Intake;
use crate::request;
use crate::watch::Watch;

/// What the calls need.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) intake: Intake,
    pub(crate) signer: Signer,
    pub(crate) urls: UrlRules,
    pub(crate) watch: Watch,
}

type Shared = Extracted<Arc<Service>>;

/// Makes the routes.
pub(crate) fn routes(service: Service) -> Router {
    Router::new()
        .route("/feature.feature.v1.FeatureService/Create", post(create))
        .route("/feature.feature.v1.FeatureService/Get", post(get))
        .route("/feature.feature.v1.FeatureService/List", post(list))
        .route("/feature.feature.v1.FeatureService/Cancel", post(cancel))
        .route("/feature.feature.v1.FeatureService/Timeline", post(timeline))
        .route("/feature.feature.v1.FeatureService/Watch", post(watch))
        .with_state(Arc::new(service))
}

async fn create(Extracted(service): Shared, Rpc(request): Rpc<CreateRequest>) -> Result<Rpc<CreateResponse>, RpcError> {
    let new = request::new(request, &service.urls)?;
    let (id, state) = match service.intake.create(new).await? {
        Creation::Created(id) => (id, State::Pending),
        Creation::Repeated(id, state) => (id, state),
        Creation::OtherContent => return Err(rpc_error(&StoreError::AlreadyExists)),
    };
    Ok(Rpc(CreateResponse { id: id.to_string(), state: state.into() }))
}

async fn get(Extracted(service): Shared, Rpc(request): Rpc<GetRequest>) -> Result<Rpc<Feature>, RpcError> {
    let id = request::id(&request.id)?;
    let feature = service.store.get(id).await.map_err(|error| rpc_error(&error))?;
    service.shown(feature).await.map(Rpc)
}

async fn list(Extracted(service): Shared, Rpc(request): Rpc<ListRequest>) -> Result<Rpc<ListResponse>, RpcError> {
    let page = service.store.list(&request::list(&request)?).await.map_err(|error| rpc_error(&error))?;
    let mut features = Vec::with_capacity(page.features.len());
    for feature in page.features {
        features.push(service.shown(feature).await?);
    }
    Ok(Rpc(ListResponse { features, next: page.next.map(request::next) }))
}

async fn cancel(Extracted(service): Shared, Rpc(request): Rpc<CancelRequest>) -> Result<Rpc<CancelResponse>, RpcError> {
    let id = request::id(&request.id)?;
    let transition = service.store.cancel(id).await.map_err(|error| rpc_error(&error))?;
    figures::count_cancelled(&transition);
    let state = match &transition {
        Transition::Moved { event, .. } => event.state(),
        Transition::NotThere { state } => *state,
    };
    Ok(Rpc(CancelResponse { id: id.to_string(), state: state.into() }))
}

async fn timeline(Extracted(service): Shared, Rpc(request): Rpc<GetRequest>) -> Result<Rpc<TimelineResponse>, RpcError> {
    let id = request::id(&request.id)?;
    let read = async {
        let steps = service.store.steps(id).await?;
        let events = service.store.events(id, 0).await?;
        Ok::<_, StoreError>((steps, events))
    };
    let (steps, events) = read.await.map_err(|error| rpc_error(&error))?;
    if events.is_empty() {
        return Err(rpc_error(&StoreError::NotFound(id)));
    }
    let steps = steps.into_iter().map(shown_step).collect();
    Ok(Rpc(TimelineResponse { steps, events: events.into_iter().map(|stored| stored.event).collect() }))
}

async fn watch(Extracted(service): Shared, headers: HeaderMap, Rpc(request): Rpc<WatchRequest>) -> Result<Response, RpcError> {
    let last = headers.get("last-event-id").map(|last| last.to_str().unwrap_or_default());
    let stream = service.watch.clone().start(request::watch(&request, last)?).await?;
    let alive = KeepAlive::new().interval(service.watch.heartbeat);
    // Proxies must pass each event on at once.
    Ok(([("x-accel-buffering", "no")], Sse::new(stream).keep_alive(alive)).into_response())
}

impl Service {
    async fn shown(&self, feature: feature_store::Feature) -> Result<Feature, RpcError> {
        Ok(Feature {
            id: feature.id.to_string(),
            state: feature.state.into(),
            error: feature.error,
            branch: feature.branch,
            artifacts: self.signer.sign(feature.artifacts).await?,
            repository_url: feature.repository_url,
            created_at: feature.created_at,
            updated_at: feature.updated_at,
            completed_at: feature.completed_at,
        })
    }
}

fn shown_step(step: feature_store::Step) -> Step {
    Step {
        id: step.id.to_string(),
        sequence: step.sequence,
        step_type: step.step_type,
        outcome: step.outcome,
        attempts: step.attempts.unsigned_abs(),
        error: step.error,
        started_at: step.started_at,
        completed_at: step.completed_at,
    }
}
