use provision_model::{FIELD_MANAGER, FieldChange, FieldOwner, Manifest, Observed, Origin, RecordedObject, ResourceId};
use serde::{Deserialize, Serialize};

use crate::autoscaling::Autoscaling;
use crate::compare;
use crate::context::is_job;
use provision_model::ownership::{owners_of, project};

/// How one live object differs from what a release left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Which object.
    pub id: ResourceId,
    /// What happened to it.
    pub kind: DriftKind,
    /// The fields that differ; for a replaced object too.
    pub fields: Vec<DriftedField>,
    /// Template line that made it.
    pub origin: Origin,
}

/// What happened to a recorded object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It is not there.
    Missing,
    /// It is being deleted.
    Terminating,
    /// It was deleted and made again.
    Replaced {
        /// UID of the object that is there now.
        uid: Option<String>,
    },
    /// Fields that we wrote have other values.
    Changed,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftedField {
    /// The field; `before` is what we wrote, `after` what is there.
    pub change: FieldChange,
    /// Who owns the field now: name, operation, subresource, time. Empty when nobody does, as after a removal.
    pub owners: Vec<FieldOwner>,
}

/// Compares every recorded object with the live one.
///
/// Registered writes that were not finished, completed Jobs that are gone or going and replicas that an autoscaler owns are no drift.
pub fn drift(observed: &Observed) -> Vec<Drift> {
    let autoscaling = Autoscaling::as_live(observed);
    let recorded = observed.recorded.iter().filter(|(_, recorded)| recorded.uid.is_some());
    recorded.filter_map(|(id, recorded)| drift_of(id, recorded, observed.live.get(id), &autoscaling)).collect()
}

fn drift_of(id: &ResourceId, recorded: &RecordedObject, live: Option<&Manifest>, autoscaling: &Autoscaling) -> Option<Drift> {
    let drift = |kind, fields| Some(Drift { id: id.clone(), kind, fields, origin: recorded.origin.clone() });
    if is_job(&id.kind) && recorded.completed && live.is_none_or(Manifest::is_terminating) {
        return None;
    }
    let Some(live) = live else { return drift(DriftKind::Missing, Vec::new()) };
    if live.is_terminating() {
        return drift(DriftKind::Terminating, Vec::new());
    }
    let compared = autoscaling.comparable(id, live, &recorded.fields);
    let changes = compare::masked(live, compare::projections(&recorded.applied, &project(live, &compared), &compared));
    let fields: Vec<DriftedField> = changes
        .into_iter()
        .map(|change| DriftedField { owners: owners_of(live, std::slice::from_ref(&change.path), FIELD_MANAGER), change })
        .collect();
    if live.uid() != recorded.uid.as_deref() {
        return drift(DriftKind::Replaced { uid: live.uid().map(str::to_owned) }, fields);
    }
    if fields.is_empty() { None } else { drift(DriftKind::Changed, fields) }
}
