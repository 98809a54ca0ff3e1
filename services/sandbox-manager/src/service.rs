//! The gRPC interface.

use std::sync::Arc;

use feature_api::sandbox::RunRequest;
use feature_api::sandbox::run_request::Part;
use feature_api::sandbox::sandbox_service_server::SandboxService;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::output::Told;
use crate::run::Run;
use crate::runtime::Runtime;
use crate::slots::{NoSlot, Slots};
use crate::spec::{Limits, Spec};

/// Events that wait for a slow client; the command waits after that.
const WAITING: usize = 16;

/// The service over one runtime.
#[derive(Debug)]
pub(crate) struct Sandboxes<R> {
    runtime: Arc<R>,
    limits: Limits,
    slots: Slots,
}

impl<R: Runtime> Sandboxes<R> {
    /// Makes the service; each sandbox takes one of the places.
    pub(crate) fn new(runtime: Arc<R>, limits: Limits, slots: Slots) -> Self {
        Self { runtime, limits, slots }
    }
}

#[tonic::async_trait]
impl<R: Runtime> SandboxService for Sandboxes<R> {
    type RunStream = ReceiverStream<Told>;

    async fn run(&self, request: Request<Streaming<RunRequest>>) -> Result<Response<Self::RunStream>, Status> {
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.and_then(|request| request.part);
        let Some(Part::Spec(spec)) = first else { return Err(Status::invalid_argument("the first piece must be the spec")) };
        let spec = Spec::check(spec, &self.limits).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let slot = self.slots.take(spec.id).map_err(|reason| match reason {
            NoSlot::Full => Status::resource_exhausted("all places for sandboxes are taken"),
            NoSlot::Runs => Status::already_exists(format!("the sandbox {} runs", spec.id)),
        })?;
        let (sender, receiver) = channel(WAITING);
        let run = Run { runtime: Arc::clone(&self.runtime), spec, slot, sender };
        tokio::spawn(run.drive(pieces).in_current_span());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
