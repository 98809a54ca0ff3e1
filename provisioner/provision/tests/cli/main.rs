//! The binary as its users and their scripts meet it, without a cluster: help, exit codes, output, logs.
#![expect(clippy::unwrap_used, reason = "a test fails where the world does not answer as it should")]

mod api_server;
mod help;
mod logs;
mod output;
mod plans;
mod project;
mod usage;
