//! What clients send, checked.

use feature_api::feature::{CreateRequest, ListRequest, State, WatchRequest};
use feature_api::{RepositoryUrl, UrlRules};
use feature_store::{Instruction, List, New, Trace};
use service_kit::rpc::RpcError;
use uuid::Uuid;

const LONGEST_INSTRUCTION: usize = 100_000;
const LONGEST_KEY: usize = 200;
const LARGEST_PAGE: u32 = 200;
const USUAL_PAGE: u32 = 50;

/// Reads an id in the usual form: 36 characters with hyphens.
pub(crate) fn id(text: &str) -> Result<Uuid, RpcError> {
    let id = Uuid::try_parse(text).ok().filter(|id| id.to_string().eq_ignore_ascii_case(text));
    id.ok_or_else(|| RpcError::invalid("`id` is not a UUID like 0190163d-8694-739b-aea5-966c26f8ad91"))
}

/// Reads what is to be made.
pub(crate) fn new(request: CreateRequest, rules: &UrlRules) -> Result<New, RpcError> {
    let CreateRequest { repository_url, instruction, idempotency_key } = request;
    let url = RepositoryUrl::parse(&repository_url, rules).map_err(|error| RpcError::invalid(error.to_string()))?;
    if instruction.trim().is_empty() {
        return Err(RpcError::invalid("`instruction` is empty"));
    }
    if instruction.len() > LONGEST_INSTRUCTION {
        return Err(RpcError::invalid(format!("`instruction` is longer than {LONGEST_INSTRUCTION} bytes")));
    }
    if let Some(key) = &idempotency_key {
        let good = !key.is_empty() && key.chars().count() <= LONGEST_KEY && !key.chars().any(char::is_control);
        good.then_some(()).ok_or_else(|| {
            RpcError::invalid(format!("`idempotency_key` must be 1 to {LONGEST_KEY} characters, none a control character"))
        })?;
    }
    let (parent, state) = service_kit::trace::current_headers();
    let instruction = Instruction::new(instruction);
    Ok(New { repository_url: url.to_string(), instruction, idempotency_key, trace: Trace { parent, state } })
}

/// Reads which features to list.
pub(crate) fn list(request: &ListRequest) -> Result<List, RpcError> {
    let states: Vec<State> = request.states().collect();
    if states.len() != request.states.len() || states.contains(&State::Unspecified) {
        return Err(RpcError::invalid(
            "`states` must be PENDING, ANALYZING, PLANNING, EXECUTING, VERIFYING, COMPLETED, FAILED or CANCELLED",
        ));
    }
    let limit = request.limit.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(RpcError::invalid(format!("`limit` must be 1 to {LARGEST_PAGE}")));
    }
    let place = |text: &String| place_of(text).ok_or_else(|| RpcError::invalid("`after` is not the `next` of a page"));
    Ok(List { states, limit, after: request.after.as_ref().map(place).transpose()? })
}

/// Returns where the next page begins as clients see it.
pub(crate) fn next((micros, id): (i64, Uuid)) -> String {
    format!("{micros}_{id}")
}

fn place_of(text: &str) -> Option<(i64, Uuid)> {
    let (micros, id) = text.split_once('_')?;
    Some((micros.parse().ok().filter(|micros| *micros >= 0)?, Uuid::try_parse(id).ok()?))
}

/// What somebody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// A feature's events after a sequence.
    One(Uuid, i32),
    /// Everybody's events: those after a position, or only new ones.
    All(Option<i64>),
}

/// Reads what to watch; `last_event_id` is where a stream that broke off had come to.
pub(crate) fn watch(request: &WatchRequest, last_event_id: Option<&str>) -> Result<Watched, RpcError> {
    let last: Option<i64> = match last_event_id {
        Some(text) => Some(
            text.parse().ok().filter(|last| *last >= 0).ok_or_else(|| RpcError::invalid("`Last-Event-ID` is not the id of an event"))?,
        ),
        None => None,
    };
    let Some(feature) = &request.id else {
        return match request.after {
            Some(_) => Err(RpcError::invalid("`after` needs the `id` that it belongs to")),
            None => Ok(Watched::All(last)),
        };
    };
    let last = last.map(|last| i32::try_from(last).map_err(|_| RpcError::invalid("`Last-Event-ID` is not the id of an event")));
    let after = last.transpose()?.or(request.after).unwrap_or(-1);
    if after < -1 {
        return Err(RpcError::invalid("`after` is negative"));
    }
    Ok(Watched::One(id(feature)?, after))
}

#[cfg(test)]
mod tests;
