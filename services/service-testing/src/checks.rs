//! What several services promise alike.

use std::io;
use std::path::Path;

use crate::{PASSWORD, Postgres, Service};

/// Checks that a service that needs nothing from outside is ready once it has started, and ends in order when asked to.
///
/// # Errors
/// What it did instead; with its log.
pub fn check_starts_ready_and_ends_in_order(program: impl AsRef<Path>) -> io::Result<()> {
    let mut service = Service::start(program, &[], &[])?;
    service.wait_for_readiness(200)?;
    service.end_in_order()
}

/// Checks that a service is ready while, and only while, its database answers, and never shows the database's password.
///
/// # Errors
/// What it did instead; with its log.
pub fn check_ready_while_its_database_answers(program: impl AsRef<Path>) -> io::Result<()> {
    let mut postgres = Postgres::start()?;
    let mut service = Service::start(program, &[], &[("DATABASE_URL", &postgres.url())])?;
    service.wait_for_readiness(200)?;
    postgres.stop()?;
    let unready = service.wait_for_readiness(503)?;
    if !unready.contains(r#""name":"postgresql","ok":false"#) {
        return Err(io::Error::other(format!("the database is not named as the cause: {unready}")));
    }
    postgres.resume()?;
    service.wait_for_readiness(200)?;
    service.end_in_order()?;
    if service.log().contains(PASSWORD) {
        return Err(io::Error::other(format!("the password is in the log\n{}", service.log())));
    }
    Ok(())
}

/// Checks that a program refuses its arguments and variables with exit code 2 before it opens a port, and returns its log.
///
/// # Errors
/// What it did instead; with its log.
pub fn check_refused(program: impl AsRef<Path>, arguments: &[&str], variables: &[(&str, &str)]) -> io::Result<String> {
    let mut service = Service::start(program, arguments, variables)?;
    let code = service.wait()?.code();
    let log = service.log();
    if code != Some(2) || log.contains("\"listening\"") {
        return Err(io::Error::other(format!("it ended with {code:?}\n{log}")));
    }
    Ok(log)
}
