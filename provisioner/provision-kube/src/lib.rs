//! The cluster on a Kubernetes API server: discovery, LISTs, server-side apply, watches, rights, logs, requests through Services.
//!
//! Requests are plain HTTP with JSON bodies, so that every object keeps exactly the fields the server gave it. Transient failures
//! are tried again for a bounded time ([`Patience`]); the client library's own unbounded retry layer is off.

mod cluster;
mod connect;
mod error;
mod list;
mod logs;
mod rights;
mod send;
mod surface;
mod watch;

pub use cluster::KubeCluster;
pub use connect::{ConnectError, Connection};
pub use send::Patience;
