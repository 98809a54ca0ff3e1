//! What a plan makes was not there when it was planned. Somebody else may have made it since: then it is theirs, and it stays as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use provision_model::{Action, Cause, Change, Manifest, Plan, Precondition, ResourceId, Verdict, annotations};
use provision_saga::StepError;
use tokio::time::Instant;

use super::work::{Work, failed};
use crate::observe::{Wish, list_live};
use crate::retry::retry;
use crate::{ApplyError, Clock, Cluster, SecretStore};

/// How long a listing tells what is not there; later each object is asked for. A few requests then do for many objects.
const FRESH: Duration = Duration::from_secs(2);

/// Which of the objects that a plan makes were there at a moment.
#[derive(Debug)]
pub(super) struct Presence {
    at: Instant,
    there: BTreeSet<ResourceId>,
}

/// Looks for the objects that the plan makes.
pub(super) async fn look<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, plan: &Plan) -> Result<(), ApplyError> {
    let wishes: Vec<Wish> = plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Create)
        .filter_map(|change| Some(Wish { id: change.id.clone(), version: Some(change.manifest.as_ref()?.version().to_owned()) }))
        .collect();
    if wishes.is_empty() {
        return Ok(());
    }
    let at = Instant::now();
    let api = work.cx.cluster.api().await.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    let there = list_live(&work.cx, &api, &wishes).await?.into_keys().collect();
    // A run looks once.
    let _ = work.presence.set(Presence { at, there });
    Ok(())
}

/// Refuses to make an object that somebody else has made meanwhile; `made_anew` after the old one was deleted.
///
/// # Errors
/// A conflict that says so, or what the cluster says.
pub(super) async fn still_absent<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    change: &Change,
    made_anew: bool,
) -> Result<(), StepError> {
    let precondition = if made_anew { change.precondition_of_remaking() } else { change.precondition() };
    let is_known = |presence: &Presence| presence.at.elapsed() < FRESH && !presence.there.contains(&change.id);
    if precondition != Precondition::Absent || (!made_anew && work.presence.get().is_some_and(is_known)) {
        return Ok(());
    }
    let live = retry(work.options.retry, || work.cx.cluster.get(&change.id)).await.map_err(|error| work.failure(&error))?;
    let ours = |live: &Manifest| live.annotation(annotations::RELEASE) == Some(work.release.as_str());
    match live.filter(|live| !ours(live)) {
        None => Ok(()),
        Some(_) => {
            let message = format!("{} was made by someone else since the plan; it stays as it is", change.id);
            Err(failed(Verdict::failed(Cause::Conflict, message).with_next("plan again: the new plan shows what would be taken over")))
        }
    }
}
