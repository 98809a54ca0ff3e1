//! Tests on real parts; one binary, so that the lab is brought up once.

mod api_server;
mod causes;
mod life;
mod lab_parts;
