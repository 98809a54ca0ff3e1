//! A double of the feature service: answers as the protobuf files say, from a page of features that is set before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use feature_api::feature::{
    CancelRequest, CancelResponse, CreateRequest, CreateResponse, Event, Feature, GetRequest, ListRequest, ListResponse,
    State as FeatureState, Step, TimelineResponse, WatchRequest,
};
use futures::StreamExt;
use service_kit::rpc::{Code, Rpc, RpcError};
use tokio::sync::broadcast;

/// What a request looked like when it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: usize,
}

pub(crate) struct Double {
    pub(crate) url: String,
    state: Arc<Kept>,
}

struct Kept {
    features: Mutex<Vec<(Feature, TimelineResponse)>>,
    seen: Mutex<Vec<Seen>>,
    events: broadcast::Sender<Event>,
}

type Shared = State<Arc<Kept>>;

impl Double {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Kept { features: Mutex::default(), seen: Mutex::default(), events: broadcast::channel(64).0 });
        let path = |method: &str| format!("/feature.feature.v1.FeatureService/{method}");
        let routes = Router::new()
            .route(&path("Create"), post(create))
            .route(&path("Get"), post(get_one))
            .route(&path("List"), post(list))
            .route(&path("Cancel"), post(cancel))
            .route(&path("Timeline"), post(timeline))
            .route(&path("Watch"), post(watch))
            .route(
                "/readyz",
                get(|| async { Json(serde_json::json!({"status": "ready", "checks": [{"name": "postgresql", "ok": true}]})) }),
            )
            .with_state(Arc::clone(&state));
        Self { url: serve(routes).await, state }
    }

    pub(crate) fn add(&self, feature: Feature, timeline: TimelineResponse) {
        self.state.features.lock().unwrap().insert(0, (feature, timeline));
    }

    /// Moves a feature to another state, and tells those who watch.
    pub(crate) fn advance(&self, id: &str, state: FeatureState, error: Option<&str>) {
        self.state.advance(id, state, error).unwrap();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn watchers(&self) -> usize {
        self.state.events.receiver_count()
    }
}

/// Serves routes on a free port until the test ends.
pub(crate) async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

impl Kept {
    fn find(&self, id: &str) -> Result<(Feature, TimelineResponse), RpcError> {
        let features = self.features.lock().unwrap();
        features.iter().find(|(feature, _)| feature.id == id).cloned().ok_or_else(|| RpcError::not_found(format!("no feature {id}")))
    }

    fn advance(&self, id: &str, state: FeatureState, error: Option<&str>) -> Result<FeatureState, RpcError> {
        let mut features = self.features.lock().unwrap();
        let (feature, timeline) =
            features.iter_mut().find(|(feature, _)| feature.id == id).ok_or_else(|| RpcError::not_found("unknown"))?;
        let before = feature.state;
        feature.state = state.into();
        feature.error = error.map(str::to_owned);
        feature.updated_at = now();
        feature.completed_at = (state as i32 > 5).then(now);
        let event = Event {
            id: format!("{id}-{}", timeline.events.len()),
            feature_execution_id: id.to_owned(),
            sequence: i32::try_from(timeline.events.len()).unwrap(),
            event_type: "feature.state_changed".to_owned(),
            state: state.into(),
            previous_state: Some(before),
            error: error.map(str::to_owned),
            created_at: now(),
            ..Event::default()
        };
        timeline.events.push(event.clone());
        drop(self.events.send(event));
        Ok(state)
    }
}

pub(crate) fn now() -> String {
    ago(0)
}

/// Returns the time so many seconds ago, as the services write it.
pub(crate) fn ago(seconds: u64) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() - Duration::from_secs(seconds);
    let whole = since.as_secs();
    let (days, rest) = (whole / 86_400, whole % 86_400);
    // Civil date from days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", rest / 3600, rest / 60 % 60, rest % 60, since.subsec_millis())
}

async fn create(State(kept): Shared, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    kept.seen.lock().unwrap().push(Seen { headers, bytes: body.len() });
    let request: CreateRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return RpcError::invalid(format!("the request is not understood: {error}")).into_response(),
    };
    match request.instruction.as_str() {
        "be silent" => std::future::pending().await,
        "break off" => return Response::new(Body::from_stream(half())),
        "be full" => {
            return RpcError { retry_after: Some(Duration::from_secs(9)), ..RpcError::new(Code::ResourceExhausted, "too many features") }
                .into_response();
        }
        _ => {}
    }
    let id = format!("{:08x}-0000-4000-8000-000000000000", kept.features.lock().unwrap().len() + 1);
    let feature = Feature {
        id: id.clone(),
        state: FeatureState::Pending.into(),
        repository_url: request.repository_url,
        created_at: now(),
        ..Feature::default()
    };
    let event = Event {
        id: format!("{id}-0"),
        feature_execution_id: id.clone(),
        event_type: "feature.created".to_owned(),
        state: 1,
        created_at: now(),
        ..Event::default()
    };
    kept.features.lock().unwrap().insert(0, (feature, TimelineResponse { steps: Vec::new(), events: vec![event.clone()] }));
    drop(kept.events.send(event));
    Rpc(CreateResponse { id, state: FeatureState::Pending.into() }).into_response()
}

/// Begins an answer, and breaks off once it is on its way.
fn half() -> impl futures::Stream<Item = Result<&'static str, std::io::Error>> {
    let broken = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(std::io::Error::other("broke off"))
    };
    futures::stream::iter([Ok("{\"id\"")]).chain(futures::stream::once(broken))
}

async fn get_one(State(kept): Shared, Rpc(request): Rpc<GetRequest>) -> Result<Rpc<Feature>, RpcError> {
    kept.find(&request.id).map(|(feature, _)| Rpc(feature))
}

async fn list(State(kept): Shared, Rpc(_): Rpc<ListRequest>) -> Rpc<ListResponse> {
    let features = kept.features.lock().unwrap().iter().map(|(feature, _)| feature.clone()).collect();
    Rpc(ListResponse { features, next: None })
}

async fn cancel(State(kept): Shared, Rpc(request): Rpc<CancelRequest>) -> Result<Rpc<CancelResponse>, RpcError> {
    let state = kept.advance(&request.id, FeatureState::Cancelled, None)?;
    Ok(Rpc(CancelResponse { id: request.id, state: state.into() }))
}

async fn timeline(State(kept): Shared, Rpc(request): Rpc<GetRequest>) -> Result<Rpc<TimelineResponse>, RpcError> {
    kept.find(&request.id).map(|(_, timeline)| Rpc(timeline))
}

async fn watch(State(kept): Shared, Rpc(_): Rpc<WatchRequest>) -> Response {
    let events = tokio_stream::wrappers::BroadcastStream::new(kept.events.subscribe());
    let events =
        events.filter_map(|event| async { event.ok() }).map(|event| Sse::default().id(event.sequence.to_string()).json_data(event));
    axum::response::Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// Makes a step that took `seconds`, begun `begun` seconds ago.
pub(crate) fn step(sequence: i32, step_type: &str, outcome: &str, (begun, seconds): (u64, u64)) -> Step {
    Step {
        id: format!("step-{sequence}"),
        sequence,
        step_type: step_type.to_owned(),
        outcome: outcome.to_owned(),
        attempts: 1,
        error: None,
        started_at: Some(ago(begun)),
        completed_at: (outcome != "running").then(|| ago(begun - seconds)),
    }
}
