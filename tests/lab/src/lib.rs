//! A Kubernetes cluster of real parts on one machine, for tests and for trying things out.
//!
//! A *region* is a set of namespaces (mount, uts, ipc, pid, network) with one first process that runs etcd, the control plane, a
//! node with containerd, a registry, cluster DNS, a metrics API, PostgreSQL, Kafka and an object store. Its servers are reachable only inside; relays carry
//! connections from this machine's loopback. Killing the first process is a power cut: nothing of the region keeps running.

mod arguments;
mod certificates;
mod cgroups;
mod cluster;
mod command;
mod configuration;
mod database;
mod error;
mod first;
mod image;
mod kafka;
mod lab;
mod lifecycle;
mod object_store;
mod os_process;
mod region;
mod relay;
mod servers;
mod settings;
mod supervisor;
mod tools;
mod volumes;

pub use arguments::{Arguments, USAGE, Verb, parse};
pub use database::run as run_database;
pub use error::LabError;
pub use first::run as run_first;
pub use image::{RootContent, RootFile, busybox_files, pack};
pub use kafka::run as run_kafka;
pub use lab::{Lab, LabHandle};
pub use lifecycle::{State, down, leftovers, state, up};
pub use object_store::run as run_object_store;
pub use os_process::ProcessRef;
pub use region::Region;
pub use settings::{cache_folder, lab_folder, tools};
pub use tools::Tools;
pub use volumes::reclaim;
