//! Rolling updates of Deployments: pods of the new template as the surge allows, those of older ones away as availability allows.

use provision_model::ResourceId;
use serde_json::Value;

use super::deployment::revision_of;
use crate::objects::Objects;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// How far a rollout may leave the wanted number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Pods beyond the wanted ones.
    surge: i64,
    /// Wanted pods that may be missing.
    pub(super) unavailable: i64,
}

impl Bounds {
    /// Reads the strategy of a Deployment: shares of the surge are rounded up, those of the missing pods down, and never are both nothing.
    pub(super) fn of(spec: &Value, wanted: i64) -> Self {
        let rolling = &spec["strategy"]["rollingUpdate"];
        if spec["strategy"]["type"] == "Recreate" {
            return Self { surge: 0, unavailable: 0 };
        }
        let quarter = Value::from("25%");
        let field = |name: &str| rolling.get(name).unwrap_or(&quarter);
        let hundredths = |value: &Value| {
            let share = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
            share.map_or_else(|| value.as_i64().unwrap_or(0).saturating_mul(100), |share| share.saturating_mul(wanted))
        };
        let surge = hundredths(field("maxSurge")).saturating_add(99).div_euclid(100);
        let unavailable = hundredths(field("maxUnavailable")).div_euclid(100).min(wanted);
        if surge == 0 && unavailable == 0 { Self { surge, unavailable: wanted.min(1) } } else { Self { surge, unavailable } }
    }
}

impl Objects {
    /// Returns how many pods the newest set of a Deployment may have now, when it is one of `sets` or is to be made.
    pub(super) fn room_for_new(&self, sets: &[ResourceId], newest: &ResourceId, bounds: Bounds, wanted: i64) -> i64 {
        let (now, all) = (self.size_of(newest), sets.iter().map(|set| self.size_of(set)).sum::<i64>());
        let more = (wanted + bounds.surge - all).clamp(0, (wanted - now).max(0));
        (now + more).min(wanted)
    }

    /// Takes pods of older templates away: first those that are not available anyway, then as many as the new ones replace.
    pub(super) fn shrink_old(&mut self, sets: &[ResourceId], newest: &ResourceId, bounds: Bounds, wanted: i64) {
        let least = wanted - bounds.unavailable;
        let missing_of_new = self.size_of(newest) - self.available_of(newest);
        let all: i64 = sets.iter().map(|set| self.size_of(set)).sum();
        let mut old: Vec<ResourceId> = sets.iter().filter(|set| *set != newest).cloned().collect();
        old.sort_by_key(|set| self.get(set).map(|set| revision_of(set)));
        let mut spare = all - least - missing_of_new;
        for set in &old {
            let useless = (self.size_of(set) - self.available_of(set)).clamp(0, spare.max(0));
            self.scale_set(set, self.size_of(set) - useless);
            spare -= useless;
        }
        let available: i64 = sets.iter().map(|set| self.available_of(set).min(self.size_of(set))).sum();
        let mut spare = spare.min(available - least);
        for set in &old {
            let replaced = self.size_of(set).clamp(0, spare.max(0));
            self.scale_set(set, self.size_of(set) - replaced);
            spare -= replaced;
        }
    }

    /// Makes the newest set the one with the highest revision, also when its template was wanted before, and notes that at the Deployment.
    pub(super) fn number_revision(&mut self, deployment: &ResourceId, sets: &[ResourceId], newest: &ResourceId) {
        let revision = |set: &ResourceId| self.get(set).map_or(0, |set| revision_of(set));
        let others = sets.iter().filter(|set| *set != newest).map(revision).max().unwrap_or(0);
        let number = if revision(newest) > others { revision(newest) } else { others + 1 }.to_string();
        for id in [newest, deployment] {
            self.control(id, None, |object| object["metadata"]["annotations"][REVISION] = Value::from(number.as_str()));
        }
    }

    fn size_of(&self, set: &ResourceId) -> i64 {
        self.get(set).map_or(0, |set| set.number("/spec/replicas").unwrap_or(1))
    }

    fn available_of(&self, set: &ResourceId) -> i64 {
        self.get(set).and_then(|set| set.number("/status/availableReplicas")).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bounds_are_those_of_a_cluster() {
        for (rolling, wanted, surge, unavailable) in [
            (json!(null), 1, 1, 0),
            (json!({"maxSurge": "25%", "maxUnavailable": "25%"}), 2, 1, 0),
            (json!({"maxSurge": "25%", "maxUnavailable": "25%"}), 4, 1, 1),
            (json!({"maxSurge": "25%", "maxUnavailable": "25%"}), 10, 3, 2),
            (json!({"maxSurge": 0, "maxUnavailable": "10%"}), 3, 0, 1),
            (json!({"maxSurge": 2, "maxUnavailable": 0}), 3, 2, 0),
            (json!({"maxSurge": "100%", "maxUnavailable": 9}), 3, 3, 3),
            (json!({"maxSurge": 0, "maxUnavailable": 0}), 0, 0, 0),
        ] {
            let bounds = Bounds::of(&json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}), wanted);
            assert_eq!(bounds, Bounds { surge, unavailable }, "{rolling} of {wanted}");
        }
    }
}
