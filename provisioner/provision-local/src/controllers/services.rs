//! Services: addresses, ports, and the pods behind them.

use std::net::{Ipv4Addr, SocketAddrV4};

use provision_model::{GroupKind, ResourceId};
use provision_objects::{Objects, Stored};
use serde_json::{Value, json};

use super::addresses::{Book, service_key};
use crate::kubelet::{WantedPort, WantedService};
use crate::supervisor::Published;

/// Tells where a published Service is to be had.
pub(crate) fn run_service(objects: &mut Objects, id: &ResourceId, stored: &Stored, published: &Published) {
    if !is_published(stored) {
        return;
    }
    let key = |port: &Value| {
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        Some((id.namespace.clone().unwrap_or_default(), id.name.clone(), number))
    };
    let ports = stored.value()["spec"]["ports"].as_array().into_iter().flatten();
    let open: Vec<SocketAddrV4> = ports.filter_map(|port| published.get(&key(port)?).copied()).collect();
    // Until the runtime has said where, what it said last stands.
    let Some(first) = open.first() else { return };
    let ports: Vec<Value> = open.iter().map(|at| json!({"port": at.port(), "protocol": "TCP"})).collect();
    let status = json!({"loadBalancer": {"ingress": [{"ip": first.ip().to_string(), "ports": ports}]}});
    objects.control(id, Some("status"), |service| service["status"] = status);
}

fn is_published(stored: &Stored) -> bool {
    matches!(stored.text("/spec/type"), Some("LoadBalancer" | "NodePort"))
}

/// Lists the Services with an address.
pub(super) fn wanted_services(objects: &Objects, book: &Book) -> Vec<WantedService> {
    let kind = GroupKind::new("", "Service");
    let service = |(id, stored): (&ResourceId, &std::sync::Arc<Stored>)| {
        let ports = stored.value()["spec"]["ports"].as_array().into_iter().flatten().filter(|port| port["protocol"] == "TCP");
        let ports = ports.filter_map(|port| {
            let number = u16::try_from(port["port"].as_u64()?).ok()?;
            let name = port["name"].as_str().unwrap_or_default().to_owned();
            Some(WantedPort { name, port: number, targets: targets(objects, id, number) })
        });
        let (namespace, name) = (id.namespace.clone()?, id.name.clone());
        let address = book.get(&service_key(&namespace, &name))?;
        Some(WantedService { namespace, name, address, published: is_published(stored), ports: ports.collect() })
    };
    objects
        .range(&kind, None)
        .filter(|(_, stored)| !stored.is_terminating() && stored.text("/spec/type") != Some("ExternalName"))
        .filter_map(service)
        .collect()
}

/// Lists where ready pods serve a port of a Service.
pub(crate) fn targets(objects: &Objects, service: &ResourceId, port: u16) -> Vec<SocketAddrV4> {
    let Some(stored) = objects.get(service) else { return Vec::new() };
    let mut ports = stored.value()["spec"]["ports"].as_array().into_iter().flatten();
    let Some(name) = ports.find(|one| one["port"] == port).map(|one| one["name"].as_str().unwrap_or_default()) else { return Vec::new() };
    let kind = GroupKind::new("discovery.k8s.io", "EndpointSlice");
    let slices = objects.range(&kind, service.namespace.as_deref());
    let own = slices.filter(|(_, slice)| slice.value()["metadata"]["labels"]["kubernetes.io/service-name"] == service.name.as_str());
    let served = |(_, slice): (&ResourceId, &std::sync::Arc<Stored>)| {
        let slice = slice.value();
        let target = slice["ports"].as_array().into_iter().flatten().find(|one| one["name"] == name);
        let target = target.and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
        let ready = slice["endpoints"].as_array().into_iter().flatten().filter(|one| one["conditions"]["ready"] == true);
        let addresses: Vec<Ipv4Addr> = ready.filter_map(|one| one["addresses"][0].as_str()?.parse().ok()).collect();
        addresses.into_iter().filter_map(move |address| Some(SocketAddrV4::new(address, target?)))
    };
    own.flat_map(served).collect()
}
