//! What several services promise alike.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

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

/// Checks that `page`, a path below the repository's root, holds the table that the program prints with `--print-config-docs`.
///
/// With the variable `UPDATE_PAGES` set, the page gets the table instead; the page must hold one already, if only its head.
///
/// # Errors
/// If the tables differ, with the one that belongs there; if the page has none.
pub fn config_table_is_current(program: impl AsRef<Path>, page: &str) -> io::Result<()> {
    let output = Command::new(program.as_ref()).arg("--print-config-docs").env_clear().output()?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let head = table.lines().next().filter(|head| head.starts_with('|'));
    let head = head.ok_or_else(|| io::Error::other(format!("{} prints no table", program.as_ref().display())))?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = fs::read_to_string(&path).map_err(|error| io::Error::other(format!("{page}: {error}")))?;
    let (before, rest) = text.split_once(head).ok_or_else(|| io::Error::other(format!("{page} has no table {head:?}")))?;
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let (found, after) = rest.split_at(end);
    if format!("{head}{found}") == table {
        return Ok(());
    }
    if std::env::var_os("UPDATE_PAGES").is_some() {
        return fs::write(&path, format!("{before}{table}{after}"));
    }
    Err(io::Error::other(format!("the table in {page} is not what belongs there (UPDATE_PAGES=1 writes it):\n{table}")))
}
