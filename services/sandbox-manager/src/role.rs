//! The other roles of this program; they print nothing and use safe calls only.

mod contained;
mod enter;
mod init;
mod network;
mod outer;
mod root;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// First argument of the role that makes the namespaces.
pub(crate) const OUTER: &str = "sandbox-outer";
/// First argument of the role that is the first process of a container.
pub(crate) const CONTAINED: &str = "sandbox-contained";
const INIT: &str = "sandbox-init";
const ENTER: &str = "sandbox-enter";

/// Where the program is in the sandbox's own root.
const SELF: &str = "/.sandbox";

/// Finds the role that an argument names.
pub(crate) fn of(argument: Option<OsString>) -> Option<fn() -> ExitCode> {
    match argument?.to_str()? {
        OUTER => Some(outer::run),
        INIT => Some(init::run),
        ENTER => Some(enter::run),
        CONTAINED => Some(contained::run),
        _ => None,
    }
}

/// Takes the socket to the manager: it is the standard input of the roles between.
fn socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Says what failed, for people.
fn failed<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
