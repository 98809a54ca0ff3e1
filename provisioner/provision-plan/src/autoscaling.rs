//! Replicas that an autoscaler owns: they are never sent in a way that would undo its work.

use std::collections::HashSet;

use provision_model::{FIELD_MANAGER, FieldPath, Manifest, Observed, ResourceId};
use serde_json::{Map, Value};

use crate::references::scaled_target;
use provision_model::ownership::{covers, owned_fields, owners_of, without};

/// Tools with which people write; what they scale is drift and no autoscaling.
const HUMAN_TOOLS: [&str; 6] = ["kubectl", "k9s", "helm", "rancher", "lens", "oc"];

/// What autoscalers scale.
#[derive(Debug, Default)]
pub(crate) struct Autoscaling {
    /// Targets of autoscalers that stay or come.
    scaled: HashSet<ResourceId>,
    /// Targets whose autoscaler leaves.
    released: HashSet<ResourceId>,
}

impl Autoscaling {
    /// Reads the autoscalers out of the wanted, live and recorded objects.
    pub(crate) fn new<'m>(wanted: impl Iterator<Item = &'m Manifest>, observed: &Observed) -> Self {
        let foreign = observed.live.iter().filter(|(id, _)| !observed.recorded.contains_key(id));
        let mut scaled: HashSet<ResourceId> = foreign.filter_map(|(_, manifest)| scaled_target(manifest)).collect();
        scaled.extend(wanted.filter_map(scaled_target));
        let recorded = observed.recorded.values().filter_map(|recorded| scaled_target(&recorded.rendered));
        let released = recorded.filter(|target| !scaled.contains(target)).collect();
        Self { scaled, released }
    }

    /// Takes the autoscalers as they are live.
    pub(crate) fn as_live(observed: &Observed) -> Self {
        Self { scaled: observed.live.values().filter_map(scaled_target).collect(), released: HashSet::new() }
    }

    /// Tells whether the replicas of a live object are an autoscaler's business.
    pub(crate) fn owns_replicas(&self, id: &ResourceId, live: &Manifest) -> bool {
        if self.scaled.contains(id) {
            return true;
        }
        if self.released.contains(id) || owns(live) {
            return false;
        }
        owners_of(live, &[replicas_path()], FIELD_MANAGER).iter().any(|owner| {
            let human = HUMAN_TOOLS.iter().any(|tool| owner.manager.to_ascii_lowercase().starts_with(tool));
            owner.subresource.as_deref() == Some("scale") && !human
        })
    }

    /// Returns the fields to compare: without the replicas where an autoscaler owns them.
    pub(crate) fn comparable(&self, id: &ResourceId, live: &Manifest, fields: &Value) -> Value {
        if self.owns_replicas(id, live) { without(fields, &["spec", "replicas"]) } else { fields.clone() }
    }

    /// Returns what to send: replicas that we own keep their live value, so that no other value is set by dropping them; replicas that
    /// we don't own are left out. An object that is not there yet gets the template's value.
    pub(crate) fn adapted(&self, id: &ResourceId, manifest: Manifest, live: Option<&Manifest>) -> Manifest {
        let Some(live) = live.filter(|live| self.owns_replicas(id, live)) else { return manifest };
        let current = live.value().pointer("/spec/replicas").filter(|_| owns(live)).cloned();
        let mut value = Value::from(manifest.clone());
        let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return manifest };
        set_or_remove(spec, "replicas", current);
        Manifest::try_from(value).unwrap_or(manifest)
    }
}

fn replicas_path() -> FieldPath {
    FieldPath::default().key("spec").key("replicas")
}

fn owns(live: &Manifest) -> bool {
    covers(&owned_fields(live, FIELD_MANAGER), &replicas_path())
}

fn set_or_remove(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), value);
        }
        None => {
            map.shift_remove(key);
        }
    }
}
