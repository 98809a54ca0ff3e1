use std::collections::BTreeMap;

use provision_model::{Action, Manifest, Plan, RecordedObject, ResourceId};

use crate::cluster::Cluster;
use crate::record::{Generation, GenerationState, Head, HeadState, Inventory, RecordStore, Wanted, known};
use crate::{ApplyError, Refusal};

/// What was recorded when a run began.
pub(super) struct Base {
    pub(super) state: Option<HeadState>,
    /// Inventory of the newest generation.
    pub(super) inventory: Inventory,
}

impl Base {
    pub(super) async fn load<C: Cluster>(store: &RecordStore<C>) -> Result<Self, ApplyError> {
        let state = store.head().await?;
        let inventory = match state.as_ref().and_then(|state| state.head.newest()) {
            Some(newest) => store.inventory(newest).await?,
            None => Inventory::new(),
        };
        Ok(Self { state, inventory })
    }

    /// Reads again what another run may have written before the lock was ours.
    pub(super) async fn reload<C: Cluster>(self, store: &RecordStore<C>) -> Result<Self, ApplyError> {
        let state = store.head().await?;
        let version = |state: &Option<HeadState>| state.as_ref().and_then(|state| state.version.clone());
        if version(&state) == version(&self.state) {
            return Ok(self);
        }
        Self::load(store).await
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.state.as_ref().map(|state| &state.head)
    }

    pub(super) fn newest(&self) -> Option<&Generation> {
        self.head().and_then(Head::newest)
    }

    pub(super) fn refuses(&self, plan: &Plan) -> Option<Refusal> {
        let recorded = self.newest().map(|newest| newest.number);
        (recorded != plan.base_generation).then_some(Refusal::Stale { planned: plan.base_generation, recorded })
    }

    /// Returns what is known of every object of the inventory.
    pub(super) fn recorded(&self) -> BTreeMap<ResourceId, RecordedObject> {
        let Some(newest) = self.newest() else { return BTreeMap::new() };
        self.inventory.iter().filter_map(|(id, stored)| Some((id.clone(), known(newest, id, stored)?))).collect()
    }

    /// Tells whether carrying the plan out leaves the record as it is: no write, nothing that enters or leaves, nothing unfinished.
    pub(super) fn is_kept_by(&self, plan: &Plan) -> bool {
        let Some(newest) = self.newest() else { return plan.changes.is_empty() };
        newest.state == GenerationState::Done
            && plan.changes.len() == self.inventory.len()
            && plan.changes.iter().all(|change| change.action == Action::Unchanged)
            && plan.desired.objects.iter().all(|object| self.keeps(&object.id(), &Wanted::of(object)))
    }

    fn keeps(&self, id: &ResourceId, wanted: &Wanted) -> bool {
        let Some(stored) = self.inventory.get(id) else { return false };
        let Some((before, recorded)) = stored.wanted.as_ref().zip(stored.recorded.as_ref()) else { return false };
        let targets = |wanted: &Wanted| -> Vec<ResourceId> { wanted.depends_on.iter().map(|after| after.target.clone()).collect() };
        before.options == wanted.options
            && targets(before) == targets(wanted)
            && recorded.digest == wanted.manifest.digest()
            && recorded.uid.is_some()
            && (recorded.completed || !is_job(&wanted.manifest))
    }
}

pub(super) fn is_job(manifest: &Manifest) -> bool {
    manifest.kind() == "Job" && manifest.api_version().starts_with("batch/")
}
