//! Which address of this platform's block belongs to whom: an object like the others, so that it is as durable as what it is about.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use provision_model::{GroupKind, ResourceId};
use provision_objects::{Objects, Stored};
use serde_json::{Value, json};

use crate::network::{Host, Place};

/// Addresses of a block.
const SIZE: u32 = 4096;
/// Numbers 0 and 1 belong to the block itself.
const FIRST: u32 = 2;

/// Who has which address.
pub(crate) struct Book {
    block: Ipv4Addr,
    numbers: BTreeMap<String, u32>,
    /// Where the search for a free number begins: one that was given back rests for a while.
    next: u32,
    /// Who was asked for and has none.
    missing: RefCell<BTreeSet<String>>,
}

/// The object that holds the book.
fn place() -> ResourceId {
    ResourceId::namespaced("", "ConfigMap", "kube-system", "local-addresses")
}

/// Names a Service in the book.
pub(super) fn service_key(namespace: &str, name: &str) -> String {
    format!("service/{namespace}/{name}")
}

/// Names a pod in the book: one of a StatefulSet by its name, because others know it beforehand.
pub(super) fn pod_key(id: &ResourceId, pod: &Stored) -> String {
    match pod.owner_references().any(|owner| owner["kind"] == "StatefulSet") {
        true => named_key(id.namespace.as_deref().unwrap_or_default(), &id.name),
        false => format!("pod/{}", pod.uid()),
    }
}

fn named_key(namespace: &str, name: &str) -> String {
    format!("named/{namespace}/{name}")
}

/// Returns the block that the objects remember, and whether an address of it was ever given away.
pub(crate) fn known_block(objects: &Objects) -> Option<(Ipv4Addr, bool)> {
    let book = objects.get(&place())?;
    let block = book.text("/data/block")?.parse().ok()?;
    Some((block, !numbers(book).is_empty()))
}

fn numbers(book: &Stored) -> BTreeMap<String, u32> {
    book.text("/data/addresses").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl Book {
    /// Reads the book; an empty one of `block` if there is none of it.
    pub(crate) fn read(objects: &Objects, block: Ipv4Addr) -> Self {
        let stored = objects.get(&place()).filter(|book| book.text("/data/block") == Some(&block.to_string()));
        let next = stored.and_then(|book| book.text("/data/next")?.parse().ok()).unwrap_or(FIRST);
        Self { block, numbers: stored.map(|book| numbers(book)).unwrap_or_default(), next, missing: RefCell::default() }
    }

    /// Returns the address of somebody; remembers who has none.
    pub(super) fn get(&self, key: &str) -> Option<Ipv4Addr> {
        let number = self.numbers.get(key);
        if number.is_none() {
            self.missing.borrow_mut().insert(key.to_owned());
        }
        number.map(|number| self.at(*number))
    }

    /// Returns the address of a Service, or the one that it would get.
    pub(crate) fn foresee(&self, service: &ResourceId) -> Option<Ipv4Addr> {
        let key = service_key(service.namespace.as_deref()?, &service.name);
        self.numbers.get(&key).copied().or_else(|| self.free()).map(|number| self.at(number))
    }

    /// Gives addresses to everybody who was asked for; tells whether somebody was.
    pub(crate) fn give(&mut self, objects: &mut Objects) -> bool {
        let mut gave = false;
        for key in self.missing.take() {
            let Some(number) = self.free() else { break };
            self.numbers.insert(key, number);
            self.next = number + 1;
            gave = true;
        }
        if gave {
            self.write(objects);
        }
        gave
    }

    /// Asks for an address for a Service.
    pub(crate) fn ask_for(&self, service: &ResourceId) {
        let _ = service.namespace.as_deref().and_then(|namespace| self.get(&service_key(namespace, &service.name)));
    }

    /// Takes back what belongs to pods that are no more.
    pub(crate) fn forget_pods(&mut self, objects: &mut Objects) {
        let kind = GroupKind::new("", "Pod");
        let live: BTreeSet<String> = objects.range(&kind, None).map(|(_, pod)| format!("pod/{}", pod.uid())).collect();
        let before = self.numbers.len();
        self.numbers.retain(|key, _| !key.starts_with("pod/") || live.contains(key));
        if self.numbers.len() < before {
            self.write(objects);
        }
    }

    /// Returns the address that a host name stands for; a name that can be nothing else has one before its Service is there.
    pub(super) fn resolve(&self, host: &Host, is_service: &dyn Fn(&str, &str) -> bool) -> Option<Ipv4Addr> {
        host.places.iter().find_map(|place| match place {
            Place::Service { namespace, name } if host.certain || is_service(namespace, name) => self.get(&service_key(namespace, name)),
            Place::Pod { namespace, service, name } if host.certain || is_service(namespace, service) => {
                self.get(&named_key(namespace, name))
            }
            _ => None,
        })
    }

    fn at(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.block) + number)
    }

    fn free(&self) -> Option<u32> {
        let used: BTreeSet<u32> = self.numbers.values().copied().collect();
        let next = self.next.clamp(FIRST, SIZE - 1);
        (next..SIZE - 1).chain(FIRST..next).find(|number| !used.contains(number))
    }

    /// Keeps the book.
    pub(crate) fn write(&self, objects: &mut Objects) {
        let addresses: Value = self.numbers.iter().map(|(key, number)| (key.clone(), Value::from(*number))).collect();
        let data = json!({"block": self.block.to_string(), "next": self.next.to_string(), "addresses": addresses.to_string()});
        let id = place();
        if objects.get(&id).is_some() {
            objects.control(&id, None, |book| book["data"] = data);
            return;
        }
        let value =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": id.name, "namespace": id.namespace}, "data": data});
        if let Err(error) = objects.make(&id, &value) {
            tracing::error!(%error, "the addresses can't be kept");
        }
    }
}
