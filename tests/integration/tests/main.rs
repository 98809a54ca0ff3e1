//! Tests on real parts; one binary, so that the lab is brought up once.

mod api_server;
