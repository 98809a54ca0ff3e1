//! The store on a real PostgreSQL.

#![cfg(test)]

mod create;
mod keep;
mod order;
mod outbox;
mod steps;
mod world;
