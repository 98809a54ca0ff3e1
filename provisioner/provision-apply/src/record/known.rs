//! What a record says of one object.

use provision_model::{FIELD_MANAGER, Manifest, OnRemove, RecordedObject, ResourceId, ownership};
use provision_saga::{Event, StepName};
use serde_json::{Map, Value};

use super::{Generation, StoredObject, Wanted};
use crate::run::names;

/// Returns what is known of an object of a generation's inventory: its last recorded write, else that one is registered.
pub(crate) fn known(generation: &Generation, id: &ResourceId, stored: &StoredObject) -> Option<RecordedObject> {
    let Some(wanted) = &stored.wanted else { return stored.recorded.clone() };
    let digest = wanted.manifest.digest();
    let same = stored.recorded.as_ref().filter(|recorded| recorded.digest == digest);
    let completed = same.is_some_and(|recorded| recorded.completed) || is_done(generation, &names::ready(id));
    match &stored.recorded {
        Some(recorded) if !completed || recorded.digest == digest => {
            Some(RecordedObject { completed: recorded.completed || completed, ..recorded.clone() })
        }
        // The new Job ran, so what is recorded of an older one no longer says anything.
        Some(_) | None => Some(RecordedObject { completed, ..registered(wanted) }),
    }
}

/// An object whose write is registered: it may or may not have happened.
pub(crate) fn registered(wanted: &Wanted) -> RecordedObject {
    RecordedObject {
        rendered: wanted.manifest.clone(),
        digest: wanted.manifest.digest(),
        origin: wanted.origin.clone(),
        uid: None,
        fields: Value::Object(Map::new()),
        applied: Value::Object(Map::new()),
        completed: false,
        keep: wanted.options.on_remove == OnRemove::Keep,
    }
}

/// What a write left, as the object itself shows it. `live` must be masked.
pub(crate) fn written(wanted: &Wanted, live: &Manifest) -> RecordedObject {
    let fields = ownership::owned_fields(live, FIELD_MANAGER);
    RecordedObject { uid: live.uid().map(str::to_owned), applied: ownership::project(live, &fields), fields, ..registered(wanted) }
}

fn is_done(generation: &Generation, step: &StepName) -> bool {
    let last = generation.journal.iter().rev().find(|record| record.step == *step);
    last.is_some_and(|record| matches!(record.event, Event::Done { .. }))
}
