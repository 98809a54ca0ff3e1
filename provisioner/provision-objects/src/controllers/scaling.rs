//! Autoscalers, disruption budgets and claims.

use provision_model::{GroupKind, ResourceId};
use serde_json::{Value, json};

use super::{Surroundings, conditions, is_true, selects};
use crate::objects::{Objects, Stored};

impl Objects {
    /// Moves one autoscaler on: it keeps its target within the bounds and otherwise as it is.
    pub(crate) fn run_autoscaler(&mut self, id: &ResourceId, stored: &Stored, around: &Surroundings<'_>) {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let reference = &stored.value["spec"]["scaleTargetRef"];
        let group = reference["apiVersion"].as_str().and_then(|version| version.rsplit_once('/')).map_or("", |(group, _)| group);
        let (kind, name) = (reference["kind"].as_str().unwrap_or_default(), reference["name"].as_str().unwrap_or_default());
        let target = ResourceId::namespaced(group, kind, namespace, name);
        let now = self.stamp();
        let Some(current) = self.objects.get(&target).and_then(|target| target.number("/spec/replicas")) else {
            let message = format!("the HPA controller was unable to get the target's current scale: {name} not found");
            self.control(id, Some("status"), |scaler| {
                scaler["status"] = json!({"currentReplicas": 0, "desiredReplicas": 0,
                    "conditions": conditions(scaler, &now, &[("AbleToScale", "False", "FailedGetScale", &message)])});
            });
            return;
        };
        let (least, most) = (stored.number("/spec/minReplicas").unwrap_or(1), stored.number("/spec/maxReplicas").unwrap_or(i64::MAX));
        let wanted = current.clamp(least.min(most), most);
        if wanted != current {
            self.control(&target, Some("scale"), |target| target["spec"]["replicas"] = Value::from(wanted));
        }
        let active = if around.measures_load {
            ("ScalingActive", "True", "ValidMetricFound", "the HPA was able to successfully calculate a replica count")
        } else {
            (
                "ScalingActive",
                "False",
                "NotEnforced",
                "not enforced locally: nothing measures load, the replicas only stay within the bounds",
            )
        };
        self.control(id, Some("status"), |scaler| {
            scaler["status"] = json!({"currentReplicas": wanted, "desiredReplicas": wanted, "conditions": conditions(scaler, &now, &[
                ("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size"),
                active,
                ("ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range"),
            ])});
        });
    }

    /// Moves one disruption budget on.
    pub(crate) fn run_budget(&mut self, id: &ResourceId, stored: &Stored) {
        let selector = &stored.value["spec"]["selector"]["matchLabels"];
        let kind = GroupKind::new("", "Pod");
        let pods = self.range(&kind, id.namespace.as_deref());
        let selected: Vec<bool> =
            pods.filter(|(_, pod)| selects(selector, &pod.value)).map(|(_, pod)| is_true(&pod.value, "Ready")).collect();
        let expected = i64::try_from(selected.len()).unwrap_or(0);
        let healthy = i64::try_from(selected.iter().filter(|ready| **ready).count()).unwrap_or(0);
        let share = |value: &Value| match value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok()) {
            Some(percent) => (expected * percent + 99) / 100,
            None => value.as_i64().unwrap_or(0),
        };
        let spec = &stored.value["spec"];
        let desired = match spec.get("minAvailable") {
            Some(least) => share(least),
            None => (expected - spec.get("maxUnavailable").map_or(1, share)).max(0),
        };
        let now = self.stamp();
        let allowed = (healthy - desired).max(0);
        let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        self.control(id, Some("status"), |budget| {
            budget["status"] = json!({"observedGeneration": budget["metadata"]["generation"], "expectedPods": expected,
                "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed,
                "conditions": conditions(budget, &now, &[("DisruptionAllowed", status, reason, "")])});
        });
    }

    /// Binds one claim.
    pub(crate) fn run_claim(&mut self, id: &ResourceId, stored: &Stored) {
        let volume = format!("pvc-{}", stored.uid());
        if stored.text("/spec/volumeName").is_none() {
            self.control(id, None, |claim| claim["spec"]["volumeName"] = Value::from(volume));
        }
        self.control(id, Some("status"), |claim| {
            claim["status"] = json!({"phase": "Bound", "accessModes": claim["spec"]["accessModes"],
                "capacity": claim["spec"]["resources"]["requests"]});
        });
    }
}
