//! The services and the object store, as far as a worker's requests go: they count effects by step.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{post, put};
use feature_api::git::{ApplyRequest, ApplyResponse, File, LookResponse, ReadRequest, ReadResponse};
use feature_api::llm::{PatchRequest, PatchResponse, PlanRequest, PlanResponse};
use feature_api::repository::{Repository, ResolveRequest};
use feature_api::sandbox::run_event::Event;
use feature_api::sandbox::run_request::Part;
use feature_api::sandbox::sandbox_service_server::{SandboxService, SandboxServiceServer};
use feature_api::sandbox::{Output, Result as Ended, RunEvent, RunRequest};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use service_kit::rpc::Rpc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// What was done outside, and how the outside behaves; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Doubles(Arc<Mutex<Outside>>);

#[derive(Default)]
pub(crate) struct Outside {
    /// How long each call takes.
    pub(crate) delay: Duration,
    /// Commits by step: one each, however often it was asked for.
    pub(crate) commits: BTreeMap<String, BTreeSet<String>>,
    /// Calls of the model by step and method.
    pub(crate) asked: BTreeMap<String, u32>,
    pub(crate) ran: BTreeMap<String, u32>,
    /// Bodies by key.
    pub(crate) objects: BTreeMap<String, BTreeSet<Vec<u8>>>,
    /// Archives that came through, by their content.
    pub(crate) archives: BTreeSet<Vec<u8>>,
    /// Plans are begun and never end.
    pub(crate) plans_hang: bool,
    /// Trace headers of the sandbox's calls.
    pub(crate) traces: BTreeSet<String>,
}

/// Where the doubles listen.
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) grpc: String,
}

const ARCHIVE: &[u8] = &[7; 3_000_000];

impl Doubles {
    pub(crate) fn outside(&self) -> std::sync::MutexGuard<'_, Outside> {
        self.0.lock().unwrap()
    }

    pub(crate) async fn serve(&self) -> Addresses {
        let (http, http_address) = listen().await;
        let routes = Router::new()
            .route("/feature.repository.v1.RepositoryService/Resolve", post(resolve))
            .route("/feature.repository.v1.RepositoryService/RecordHead", post(record_head))
            .route("/feature.git.v1.GitService/Look", post(look))
            .route("/feature.git.v1.GitService/Read", post(read))
            .route("/feature.git.v1.GitService/Apply", post(apply))
            .route("/feature.git.v1.GitService/Archive", post(|| async { ARCHIVE }))
            .route("/feature.llm.v1.LlmService/Plan", post(plan))
            .route("/feature.llm.v1.LlmService/Patch", post(patch))
            .route("/artifacts/{*key}", put(store))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(http, routes).await });
        let (grpc, grpc_address) = listen().await;
        let sandbox = SandboxServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(sandbox);
        tokio::spawn(async move { server.serve_with_incoming(TcpListenerStream::new(grpc)).await });
        Addresses { http: format!("http://{http_address}"), grpc: format!("http://{grpc_address}") }
    }

    async fn take_time(&self) {
        let delay = self.outside().delay;
        tokio::time::sleep(delay).await;
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn resolve(State(doubles): State<Doubles>, Rpc(request): Rpc<ResolveRequest>) -> Rpc<Repository> {
    doubles.take_time().await;
    Rpc(Repository { url: request.url, default_branch: Some("main".to_owned()), ..Repository::default() })
}

async fn record_head(body: Bytes) -> Rpc<Repository> {
    assert!(!body.is_empty());
    Rpc(Repository::default())
}

async fn look(State(doubles): State<Doubles>, _body: Bytes) -> Rpc<LookResponse> {
    doubles.take_time().await;
    let paths = vec!["Makefile".to_owned(), "README.md".to_owned()];
    Rpc(LookResponse { branch: "main".to_owned(), head: "a".repeat(40), paths, truncated: false })
}

async fn read(State(doubles): State<Doubles>, Rpc(request): Rpc<ReadRequest>) -> Rpc<ReadResponse> {
    doubles.take_time().await;
    let files = request.paths.into_iter().map(|path| File { path, content: "x\n".to_owned() }).collect();
    Rpc(ReadResponse { files, skipped: vec![] })
}

async fn apply(State(doubles): State<Doubles>, Rpc(request): Rpc<ApplyRequest>) -> Rpc<ApplyResponse> {
    doubles.take_time().await;
    // As git: a commit is made of what it holds.
    let commit = format!("{:x}-{}-{}", request.patch.len(), request.base, request.committed_at);
    doubles.outside().commits.entry(request.step_id).or_default().insert(commit.clone());
    Rpc(ApplyResponse { commit, tree: "t".to_owned(), paths: vec!["README.md".to_owned()], repeated: false })
}

async fn plan(State(doubles): State<Doubles>, Rpc(request): Rpc<PlanRequest>) -> Rpc<PlanResponse> {
    *doubles.outside().asked.entry(request.step_id).or_default() += 1;
    if doubles.outside().plans_hang {
        std::future::pending::<()>().await;
    }
    doubles.take_time().await;
    let verify = vec!["make".to_owned(), "test".to_owned()];
    Rpc(PlanResponse { summary: request.instruction, files: vec!["README.md".to_owned()], verify, ..PlanResponse::default() })
}

async fn patch(State(doubles): State<Doubles>, Rpc(request): Rpc<PatchRequest>) -> Rpc<PatchResponse> {
    *doubles.outside().asked.entry(request.step_id).or_default() += 1;
    doubles.take_time().await;
    Rpc(PatchResponse { patch: format!("--- a/x\n+++ b/x\n{}\n", request.instruction), ..PatchResponse::default() })
}

async fn store(State(doubles): State<Doubles>, Path(key): Path<String>, body: Bytes) -> StatusCode {
    doubles.outside().objects.entry(key).or_default().insert(body.to_vec());
    StatusCode::OK
}

#[tonic::async_trait]
impl SandboxService for Doubles {
    type RunStream = BoxStream<'static, Result<RunEvent, Status>>;

    async fn run(&self, request: Request<Streaming<RunRequest>>) -> Result<Response<Self::RunStream>, Status> {
        let trace = request.metadata().get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.outside().traces.extend(trace);
        let mut parts = request.into_inner();
        let mut archive = Vec::new();
        while let Some(part) = parts.next().await {
            match part?.part {
                Some(Part::Spec(spec)) => *self.outside().ran.entry(spec.id).or_default() += 1,
                Some(Part::Archive(piece)) => {
                    assert!(piece.len() <= 1024 * 1024, "a piece of {} bytes", piece.len());
                    archive.extend(piece);
                }
                None => {}
            }
        }
        self.outside().archives.insert(archive);
        self.take_time().await;
        let output = Output { stderr: false, data: b"ok\n".to_vec() };
        let events = [Event::Output(output), Event::Result(Ended::default())].map(|event| Ok(RunEvent { event: Some(event) }));
        Ok(Response::new(stream::iter(events).boxed()))
    }
}
