//! One machine as a cluster: objects in a folder, containers as processes under keepers, Services as loopback addresses.

mod client;
mod controllers;
mod image;
pub mod keeper;
mod kubelet;
mod limits;
mod network;
mod notices;
mod probe;
mod protocol;
mod runtime;
mod socket;
mod store;
mod supervisor;
mod volumes;
mod watcher;

pub use client::{Endpoint, Launch, LocalCluster, LocalError, LocalSettings};
pub use controllers::not_enforced;
pub use kubelet::*;
pub use limits::Enforcement;
pub use network::{Block, Host, Place, rewrite};
pub use runtime::{Backoff, Catalogue, KeeperCommand, LocalKubelet, LogSize, RuntimeError, RuntimeSettings};
pub use store::StoreError;
pub use supervisor::{SupervisorError, SupervisorSettings, detach, supervise};
pub use watcher::wait_for_end;
