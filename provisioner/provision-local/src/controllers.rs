//! What this machine adds to the controllers of every cluster: pods as processes, addresses, schedules.

mod addresses;
mod cron;
mod enforced;
mod env;
mod files;
mod pods;
mod services;
mod spec;
mod status;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use provision_model::{GroupKind, ResourceId};
use provision_objects::Objects;

pub(crate) use self::addresses::{Book, known_block};
pub(crate) use self::cron::run_cron_job;
pub use self::enforced::not_enforced;
pub(crate) use self::enforced::say_not_enforced;
pub(crate) use self::pods::{place_pod, wanted};
pub(crate) use self::services::{run_service, targets};
pub(crate) use self::status::report_pod;

/// Time between two looks for Events that are too old.
pub(crate) const SWEEP_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// Age at which an Event goes.
const OLD_EVENT: SignedDuration = SignedDuration::from_hours(1);

/// Deletes the Events that an API server would have forgotten.
pub(crate) fn forget_old_events(objects: &mut Objects) {
    let now = objects.now();
    let kind = GroupKind::new("", "Event");
    let is_old = |last: Timestamp| now.duration_since(last) > OLD_EVENT;
    let old = objects.range(&kind, None).filter(|(_, event)| event.time("/lastTimestamp").is_some_and(is_old));
    let old: Vec<ResourceId> = old.map(|(id, _)| id.clone()).collect();
    for id in old {
        // One that something holds goes later.
        let _ = objects.delete(&id, None);
    }
}
