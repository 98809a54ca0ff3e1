//! What the services' tests share: a real PostgreSQL, a service as a process, a plain HTTP client, checks of what all promise alike.
//!
//! Every wait has a deadline; a part that is missing on the machine is an error that says how to install it, never a skipped test.

mod checks;
mod collector;
mod http;
mod postgres;
mod process;
mod programs;

use std::io;
use std::time::{Duration, Instant};

pub use checks::{check_ready_while_its_database_answers, check_refused, check_starts_ready_and_ends_in_order, config_table_is_current};
pub use collector::{Collector, Span};
pub use http::{Answer, Connection, get, post};
pub use postgres::{PASSWORD, Postgres};
pub use process::Service;
pub use programs::built;

/// Longest wait for anything in a test.
const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again until `condition` gives a value.
///
/// # Errors
/// Names `what` if that takes longer than the deadline.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if started.elapsed() > DEADLINE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not within {} s", DEADLINE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
