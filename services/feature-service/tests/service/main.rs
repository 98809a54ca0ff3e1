//! The feature service as a process, with a real PostgreSQL and librdkafka's in-process cluster.

#![cfg(test)]

mod calls;
mod faults;
mod load;
mod schema;
mod stream;
mod world;
