//! Services and their EndpointSlices.

use std::sync::Arc;

use provision_model::{Digest, GroupKind, ResourceId};
use serde_json::{Value, json};

use super::{is_true, selects};
use crate::objects::{Objects, Stored};

impl Objects {
    /// Moves one Service on.
    pub(crate) fn run_service(&mut self, id: &ResourceId, stored: &Stored) {
        let selector = &stored.value["spec"]["selector"];
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        let kind = GroupKind::new("", "Pod");
        let pods = self.range(&kind, id.namespace.as_deref());
        let selected: Vec<Arc<Stored>> = pods.filter(|(_, pod)| selects(selector, &pod.value)).map(|(_, pod)| pod.clone()).collect();
        let endpoints: Vec<Value> = selected.iter().filter_map(|pod| endpoint(pod, stored)).collect();
        let ports = slice_ports(&stored.value["spec"]["ports"], selected.first().map(|pod| &**pod));
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let name = format!("{}-{}", id.name, Digest::of_bytes(stored.uid().as_bytes()).short(5));
        let slice = ResourceId::namespaced("discovery.k8s.io", "EndpointSlice", namespace, &name);
        let value = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": name, "namespace": namespace,
            "labels": {"kubernetes.io/service-name": id.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": Self::reference_to(id, stored)}, "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
        if self.objects.contains_key(&slice) {
            self.control(&slice, None, |live| {
                live["endpoints"] = value["endpoints"].clone();
                live["ports"] = value["ports"].clone();
            });
        } else {
            // In a namespace that is going away nothing new comes up.
            let _ = self.make(&slice, &value);
        }
    }

    /// Lists the pods behind a Service that take requests.
    pub fn ready_endpoints(&self, service: &ResourceId) -> Vec<Value> {
        let slices = self.range_of_slices(service);
        let endpoints = slices.into_iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).collect()
    }

    fn range_of_slices(&self, service: &ResourceId) -> Vec<&Value> {
        let kind = GroupKind::new("discovery.k8s.io", "EndpointSlice");
        let ids = self.ids(&kind, service.namespace.as_deref());
        let slices = ids.iter().filter_map(|id| self.objects.get(id));
        slices
            .filter(|slice| slice.value["metadata"]["labels"]["kubernetes.io/service-name"] == service.name.as_str())
            .map(|slice| &slice.value)
            .collect()
    }
}

fn endpoint(pod: &Stored, service: &Stored) -> Option<Value> {
    let ip = pod.text("/status/podIP").filter(|_| !matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed")))?;
    let ends = pod.is_terminating();
    let ready = !ends && (is_true(&pod.value, "Ready") || service.value["spec"]["publishNotReadyAddresses"] == true);
    Some(json!({"addresses": [ip], "conditions": {"ready": ready, "serving": ready, "terminating": ends}, "nodeName": "node-1",
        "targetRef": {"kind": "Pod", "name": pod.value["metadata"]["name"], "namespace": pod.value["metadata"]["namespace"], "uid": pod.uid()}}))
}

fn slice_ports(ports: &Value, pod: Option<&Stored>) -> Vec<Value> {
    let named = |name: &str| -> Option<Value> {
        let containers = pod?.value["spec"]["containers"].as_array()?;
        let mut all = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
        all.find(|port| port["name"] == name).map(|port| port["containerPort"].clone())
    };
    let port = |port: &Value| {
        let target = port["targetPort"].as_str().map_or_else(|| Some(port["targetPort"].clone()), named)?;
        Some(json!({"name": port["name"].as_str().unwrap_or_default(), "port": target, "protocol": port["protocol"]}))
    };
    ports.as_array().into_iter().flatten().filter_map(port).collect()
}
