//! The calls that others make: `feature.llm.v1.LlmService`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use feature_api::llm::{PatchRequest, PatchResponse, PlanRequest, PlanResponse};
use service_kit::rpc::{Code, Rpc, RpcError};
use uuid::Uuid;

use crate::answer::{self, Mistake};
use crate::ask::{Answered, AskError, Asker, Purpose};
use crate::client::Failure;
use crate::material::{self, Material, MaterialError};
use crate::prompts::{Function, Prompts};
use crate::provider::{Question, Speaker, Turn};
use crate::settings::Model;

/// Most bytes of a request: more than any model takes, so that the refusal can say how much too long it is.
const MOST_BYTES: usize = 16 << 20;

/// What the calls need.
pub(crate) struct Service {
    pub(crate) asker: Asker,
    pub(crate) prompts: Prompts,
    pub(crate) model: Model,
    pub(crate) max_input_tokens: u32,
}

/// Makes the routes.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/feature.llm.v1.LlmService/Plan", post(plan))
        .route("/feature.llm.v1.LlmService/Patch", post(patch))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(service)
}

async fn plan(State(service): State<Arc<Service>>, Rpc(request): Rpc<PlanRequest>) -> Result<Rpc<PlanResponse>, RpcError> {
    let material = material::of_plan(&request);
    let read = |text: &str| answer::plan(text, &request.tree);
    let answered = service.ask((Function::Plan, &request.step_id), material, read).await?;
    let answer::Plan { summary, files, verify } = answered.value;
    Ok(Rpc(PlanResponse { summary, files, verify, model: answered.model, usage: Some(answered.usage) }))
}

async fn patch(State(service): State<Arc<Service>>, Rpc(request): Rpc<PatchRequest>) -> Result<Rpc<PatchResponse>, RpcError> {
    let material = material::of_patch(&request);
    let answered = service.ask((Function::Patch, &request.step_id), material, answer::patch).await?;
    Ok(Rpc(PatchResponse { patch: answered.value, model: answered.model, usage: Some(answered.usage) }))
}

impl Service {
    async fn ask<T>(
        &self,
        (function, step_id): (Function, &str),
        material: Result<Material, MaterialError>,
        read: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Result<Answered<T>, RpcError> {
        // Only an id goes into logs and headers.
        let step_id = match step_id {
            "" => String::new(),
            text => Uuid::parse_str(text).map_err(|_| RpcError::invalid("`step_id` is not a UUID"))?.to_string(),
        };
        let prompt = self.prompts.of(function);
        let wrong = |error: MaterialError| RpcError::invalid(error.to_string());
        let material = material.map_err(wrong)?;
        material.check_size(prompt, self.max_input_tokens).map_err(wrong)?;
        let question = Question {
            model: self.model.name.clone(),
            max_tokens: self.model.max_tokens,
            temperature: self.model.temperature,
            system: prompt.to_owned(),
            turns: vec![Turn { speaker: Speaker::User, text: material.text }],
        };
        self.asker.ask(Purpose { function, step_id }, question, read).await.map_err(|error| told(&error))
    }
}

/// Returns an error as the caller sees it.
fn told(error: &AskError) -> RpcError {
    let code = match error {
        AskError::Full(_) => Code::ResourceExhausted,
        AskError::NoTurn(_) => Code::DeadlineExceeded,
        AskError::CutOff(_) | AskError::Declined | AskError::Stopped(_) => Code::FailedPrecondition,
        AskError::Useless(_) => Code::Internal,
        AskError::Failed { failure, .. } => match failure {
            Failure::RateLimit(..) => Code::ResourceExhausted,
            Failure::Provider(..) | Failure::Broken(_) => Code::Unavailable,
            Failure::Timeout(_) | Failure::Late(_) => Code::DeadlineExceeded,
            Failure::Key(_) | Failure::NoKey | Failure::Refused(..) => Code::FailedPrecondition,
            Failure::Unreadable(_) | Failure::TooLong => Code::Internal,
        },
    };
    let retry_after = match error {
        AskError::Failed { failure, .. } => failure.retry_after(),
        _ => None,
    };
    RpcError { retry_after, ..RpcError::new(code, service_kit::words(error)) }
}
