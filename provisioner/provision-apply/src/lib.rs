//! Turns a plan into a saga over a cluster: lease, inventory, writes, waits, verification, history.
//!
//! Everything here talks to the outside only through [`Cluster`], [`SecretStore`] and [`Clock`]; each has an in-memory implementation
//! beside it that is as strict as the real thing.

mod clock;
mod cluster;
mod secret_store;

pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::{
    Access, Cluster, ClusterError, Deletion, FIELD_MANAGER, Failure, Fault, Listing, MemoryCluster, PodScript, Request, RequestCounts,
    ServiceAnswer, Verb, WatchEvent, Watching, WriteMode,
};
pub use secret_store::{MemorySecrets, SecretError, SecretStore, SecretValue};
