//! What every service of the feature platform does alike, so that a service's own crate holds only its purpose.
//!
//! A service is a [`Program`]: its variables are read at once with all mistakes reported together ([`Settings`]), its readiness is a
//! set of [`Check`]s, and [`Program::run`] serves `/healthz`, `/readyz` and `/metrics`, logs, answers signals and drains.

mod arguments;
mod config;
mod connections;
mod database;
mod foreign;
mod health;
mod http;
mod lifecycle;
mod linger;
mod metrics;
mod program;
pub mod rpc;
mod secret;
mod serve;
mod telemetry;
pub mod trace;
mod upstream;
pub mod variables;

pub use arguments::{Arguments, CommandOption};
pub use config::{ConfigError, Kind, Problem, Settings, Variable};
pub use connections::Connections;
pub use database::{Database, DatabaseUrl};
pub use foreign::ForeignServer;
pub use health::Check;
pub use lifecycle::Lifecycle;
pub use program::{App, BoxError, BoxFuture, Program, Surface, Task, words};
pub use secret::Secret;
pub use serve::listen;
pub use upstream::{Upstream, upstream_check};
