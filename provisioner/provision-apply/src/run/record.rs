//! What a run writes into the record of its release: the registration before the first write, the result at the end.

use std::collections::BTreeMap;

use provision_model::{Action, Change, OnRemove, Plan, RecordedObject, ResourceId};

use super::base::Base;
use super::outcome::Ended;
use super::work::Work;
use crate::observe::{Wish, list_live};
use crate::record::{
    FORMAT, Generation, GenerationState, Head, HeadJournal, HeadState, Inventory, RecordStore, StoredObject, Wanted, known, registered,
    wanted_digest,
};
use crate::{ApplyError, Clock, Cluster, GenerationKind, RecordError, SecretStore};

/// Reads what is live of the objects that the plan leaves alone although their record does not say what was written: a run that was killed
/// wrote them, or their rendering changed without a change of a value.
pub(super) async fn adopt_unrecorded<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    plan: &Plan,
    base: &Base,
) -> Result<(), ApplyError> {
    let unclear = |change: &&Change| {
        let Some(wanted) = work.wanted.get(&change.id).filter(|_| change.action == Action::Unchanged) else { return false };
        let digest = wanted.manifest.digest();
        let settled = base.newest().is_some_and(|newest| newest.state == GenerationState::Done);
        !work
            .base
            .get(&change.id)
            .is_some_and(|base| (settled || base.completed) && base.digest == digest && (base.uid.is_some() || base.completed))
    };
    let wishes: Vec<Wish> = plan
        .changes
        .iter()
        .filter(unclear)
        .filter_map(|change| Some(Wish { id: change.id.clone(), version: Some(change.manifest.as_ref()?.version().to_owned()) }))
        .collect();
    if wishes.is_empty() {
        return Ok(());
    }
    let api = work.cx.cluster.api().await.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    for (id, live) in list_live(&work.cx, &api, &wishes).await? {
        work.keep_written(&id, work.fingerprints.mask(&live, &work.cx.redactor));
    }
    Ok(())
}

/// Registers everything old and new under a pending generation, or goes on with the one that is pending already.
pub(super) async fn register<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    plan: &Plan,
    base: Base,
    store: &RecordStore<C>,
) -> Result<HeadState, ApplyError> {
    let wanted = wanted_digest(&plan.desired);
    let kind = &work.options.kind;
    let goes_on = |newest: &Generation| newest.state == GenerationState::Pending && newest.kind == *kind && newest.wanted == wanted;
    if base.newest().is_some_and(goes_on)
        && let Some(state) = base.state
    {
        return Ok(state);
    }
    let inventory = registration(plan, &base);
    let mut state = base.state.unwrap_or_else(|| HeadState {
        head: Head { format: FORMAT, release: plan.release.clone(), salt: work.fingerprints.salt().to_owned(), generations: Vec::new() },
        version: None,
    });
    let shards = store.store(&inventory, &state.head.generations).await?;
    if let Some(last) = state.head.generations.last_mut().filter(|last| last.state == GenerationState::Pending) {
        last.state = GenerationState::Superseded;
    }
    state.head.generations.push(Generation {
        number: state.head.newest().map_or(1, |newest| newest.number + 1),
        kind: kind.clone(),
        state: GenerationState::Pending,
        started: work.cx.clock.now(),
        finished: None,
        by: work.cx.by.clone(),
        run: work.cx.run.clone(),
        environment: plan.environment.clone(),
        region: plan.region.clone(),
        policy: plan.desired.policy.clone(),
        changes: counts(plan),
        objects: plan.desired.objects.len(),
        wanted,
        shards,
        journal: Vec::new(),
    });
    store.write_head(&mut state).await?;
    Ok(state)
}

fn counts(plan: &Plan) -> BTreeMap<Action, usize> {
    let mut counts = BTreeMap::new();
    for change in &plan.changes {
        *counts.entry(change.action).or_default() += 1;
    }
    counts
}

/// Everything that is wanted and everything that may be there.
fn registration(plan: &Plan, base: &Base) -> Inventory {
    let recorded = base.recorded();
    let mut inventory: Inventory =
        recorded.into_iter().map(|(id, recorded)| (id, StoredObject { wanted: None, recorded: Some(recorded) })).collect();
    for object in &plan.desired.objects {
        let before = inventory.remove(&object.id()).and_then(|stored| stored.recorded);
        inventory.insert(object.id(), StoredObject { wanted: Some(Wanted::of(object)), recorded: before });
    }
    inventory
}

/// Records what is there now. A run that stopped records nothing: its generation stays pending, and the objects carry their marks.
pub(super) async fn finish<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    plan: &Plan,
    ended: &Ended,
    journal: &HeadJournal<C>,
) -> Result<(), RecordError> {
    if ended.is_unfinished() {
        return Ok(());
    }
    let mut state = journal.state.lock().await;
    let Some(generation) = state.head.newest().cloned() else { return Ok(()) };
    let inventory = result(work, plan, ended, &generation);
    let shards = journal.store.store(&inventory, &state.head.generations).await?;
    let mut next = state.clone();
    if let Some(newest) = next.head.generations.last_mut() {
        newest.state = if ended.is_done() { GenerationState::Done } else { GenerationState::Failed };
        newest.finished = Some(work.cx.clock.now());
        newest.shards = shards;
        newest.journal.clear();
    }
    next.head.trim(plan.desired.policy.history);
    journal.store.write_head(&mut next).await?;
    *state = next;
    if let Err(error) = journal.store.collect_garbage(&state.head).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "pieces of old records stay until the next run");
    }
    Ok(())
}

/// Builds the inventory after a run.
fn result<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>, plan: &Plan, ended: &Ended, generation: &Generation) -> Inventory {
    let mut inventory = Inventory::new();
    for (id, wanted) in &work.wanted {
        let recorded = recorded(work, id, wanted, generation);
        inventory.insert(id.clone(), StoredObject { wanted: Some(wanted.clone()), recorded });
    }
    let over: BTreeMap<&ResourceId, bool> = ended.changes.changes.iter().map(|change| (&change.id, change.is_done)).collect();
    for change in plan.changes.iter().filter(|change| !work.wanted.contains_key(&change.id)) {
        let stays = over.get(&change.id) != Some(&true);
        if let Some(recorded) = work.base.get(&change.id).filter(|_| stays) {
            inventory.insert(change.id.clone(), StoredObject { wanted: None, recorded: Some(recorded.clone()) });
        }
    }
    inventory
}

fn recorded<C: Cluster, S: SecretStore, K: Clock>(
    work: &Work<C, S, K>,
    id: &ResourceId,
    wanted: &Wanted,
    generation: &Generation,
) -> Option<RecordedObject> {
    let digest = wanted.manifest.digest();
    let before = work.base.get(id).filter(|before| before.digest == digest);
    let stored = StoredObject { wanted: Some(wanted.clone()), recorded: before.cloned() };
    let completed = known(generation, id, &stored).is_some_and(|known| known.completed);
    match (work.written(id), before) {
        (Some(written), _) => Some(RecordedObject { completed, ..written.recorded }),
        (None, Some(before)) => Some(RecordedObject {
            rendered: wanted.manifest.clone(),
            origin: wanted.origin.clone(),
            keep: wanted.options.on_remove == OnRemove::Keep,
            completed,
            ..before.clone()
        }),
        (None, None) if completed => Some(RecordedObject { completed, ..registered(wanted) }),
        (None, None) => work.base.get(id).cloned(),
    }
}

/// A kind of generation that only deletes wants nothing.
impl GenerationKind {
    pub(crate) fn is_down(&self) -> bool {
        *self == Self::Down
    }
}
