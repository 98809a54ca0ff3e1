//! Tests on real parts; one binary, so that the lab is brought up once.
#![expect(clippy::unwrap_used, reason = "a test fails where its world is not as it says")]

mod api_server;
mod canary;
mod causes;
mod conformance;
mod faults;
mod feature;
mod kill;
mod lab_backing;
mod lab_parts;
mod life;
mod sets;
