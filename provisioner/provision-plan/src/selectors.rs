//! The default order of kinds: what pods should find when they start, and what should find pods.

use std::collections::HashMap;

use provision_model::{EdgeReason, ResourceId};
use serde_json::{Map, Value};

use crate::edges::Node;
use crate::references::{pod_labels, references, service_account};

/// A workload: its number, the labels of its pods and the account they run under.
struct Workload<'m> {
    number: u32,
    labels: std::borrow::Cow<'m, Map<String, Value>>,
    account: Option<ResourceId>,
}

/// Lists the optional edges, as `(before, after, reason)`.
///
/// Before the pods of a namespace: quotas, limit ranges, the network policies that select them and the bindings of their account.
/// After them: disruption budgets that select them. A webhook or aggregated API comes after the pods behind its Service.
pub(crate) fn default_order(nodes: &[Node<'_>], ids: &HashMap<ResourceId, u32>) -> Vec<(u32, u32, EdgeReason)> {
    let mut workloads: HashMap<&str, Vec<Workload<'_>>> = HashMap::new();
    for (number, node) in (0..).zip(nodes) {
        if let (Some(namespace), Some(labels)) = (node.id.namespace.as_deref(), pod_labels(node.manifest)) {
            let workload = Workload { number, labels, account: service_account(node.manifest) };
            workloads.entry(namespace).or_default().push(workload);
        }
    }
    let mut found = Vec::new();
    for (number, node) in (0..).zip(nodes) {
        let here = node.id.namespace.as_deref().and_then(|namespace| workloads.get(namespace)).map_or(&[][..], Vec::as_slice);
        let value = node.manifest.value();
        match (node.id.kind.group.as_str(), node.id.kind.kind.as_str()) {
            ("", "ResourceQuota" | "LimitRange") => before(number, here.iter(), &mut found),
            ("networking.k8s.io", "NetworkPolicy") => {
                let selector = value.pointer("/spec/podSelector").unwrap_or(&Value::Null);
                before(number, here.iter().filter(|workload| selects(selector, &workload.labels)), &mut found);
            }
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
                let accounts: Vec<ResourceId> = references(node.manifest).into_iter().map(|reference| reference.target).collect();
                let bound = |workload: &&Workload<'_>| workload.account.as_ref().is_some_and(|account| accounts.contains(account));
                before(number, workloads.values().flatten().filter(bound), &mut found);
            }
            ("policy", "PodDisruptionBudget") => {
                let selector = value.pointer("/spec/selector").unwrap_or(&Value::Null);
                let selected = here.iter().filter(|workload| selects(selector, &workload.labels));
                found.extend(selected.map(|workload| (workload.number, number, EdgeReason::KindOrder)));
            }
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => backends(number, node, (nodes, ids), &workloads, &mut found),
            _ => {}
        }
    }
    // Iteration over a hash map has no order of its own.
    found.sort_by_key(|(before, after, _)| (*before, *after));
    found
}

fn before<'w, 'm: 'w>(number: u32, workloads: impl Iterator<Item = &'w Workload<'m>>, found: &mut Vec<(u32, u32, EdgeReason)>) {
    found.extend(workloads.map(|workload| (number, workload.number, EdgeReason::KindOrder)));
}

/// Until the pods behind its Service answer, a webhook refuses every write and an aggregated API breaks discovery.
fn backends(
    number: u32,
    node: &Node<'_>,
    (nodes, ids): (&[Node<'_>], &HashMap<ResourceId, u32>),
    workloads: &HashMap<&str, Vec<Workload<'_>>>,
    found: &mut Vec<(u32, u32, EdgeReason)>,
) {
    for reference in references(node.manifest) {
        let service = ids.get(&reference.target).and_then(|number| nodes.get(*number as usize));
        let selector = service.and_then(|service| service.manifest.value().pointer("/spec/selector")).and_then(Value::as_object);
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { continue };
        let here = reference.target.namespace.as_deref().and_then(|namespace| workloads.get(namespace));
        for workload in here.into_iter().flatten().filter(|workload| has_labels(selector, &workload.labels)) {
            found.push((workload.number, number, EdgeReason::Reference { field: reference.field.clone() }));
        }
    }
}

/// Tells whether a label selector takes these labels; an empty selector takes all.
fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let exact = selector.get("matchLabels").and_then(Value::as_object).is_none_or(|wanted| has_labels(wanted, labels));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    exact && expressions.into_iter().flatten().all(|expression| holds(expression, labels))
}

fn has_labels(wanted: &Map<String, Value>, labels: &Map<String, Value>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn holds(expression: &Value, labels: &Map<String, Value>) -> bool {
    let found = expression.get("key").and_then(Value::as_str).and_then(|key| labels.get(key));
    let listed = || {
        let values = expression.get("values").and_then(Value::as_array);
        values.into_iter().flatten().any(|value| Some(value) == found)
    };
    match expression.get("operator").and_then(Value::as_str) {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_take_labels_as_the_api_says() {
        let labels = json!({"app": "x", "tier": "back"});
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "x"}}), true),
            (json!({"matchLabels": {"app": "y"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["back", "front"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), false),
            (json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
        ];
        for (selector, expected) in cases {
            assert_eq!(selects(&selector, labels.as_object().unwrap()), expected, "{selector}");
        }
    }
}
