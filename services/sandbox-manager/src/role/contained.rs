//! First process of a container: starts the command, takes in orphans, ends everything. The container has set the limits already.
//!
//! Its standard input is a pipe from the manager: first the errand, then orders. When the manager is killed the pipe ends, and with it all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::enter::{NOT_EXECUTABLE, refused_start};
use super::failed;
use super::init::reap_until;
use crate::plan::{Errand, Order};

/// Exit code of who was killed.
const KILLED: i32 = 137;

/// Runs the command of the errand; exits as it does.
pub(super) fn run() -> ExitCode {
    match live() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err((code, text)) => {
            // The command's own standard error: who reads that is told.
            drop(writeln!(io::stderr(), "sandbox: {text}"));
            ExitCode::from(code)
        }
    }
}

fn live() -> Result<i32, (u8, String)> {
    let refused = |text| (NOT_EXECUTABLE, text);
    // The command is the same user: it must not trace this process or look into it.
    set_dumpable(false).map_err(failed("failed to close this process")).map_err(refused)?;
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed("no orders")).map_err(refused)?;
    let mut orders = BufReader::new(File::from(input));
    let mut line = String::new();
    orders.read_line(&mut line).map_err(failed("no errand")).map_err(refused)?;
    let errand: Errand = serde_json::from_str(&line).map_err(failed("no errand")).map_err(refused)?;
    let Some((program, arguments)) = errand.command.split_first() else { return Ok(0) };
    let started = Command::new(program).args(arguments).env_clear().envs(&errand.environment).stdin(Stdio::null()).spawn();
    let child = started.map_err(|error| refused_start(program, &error))?;
    let child = i32::try_from(child.id()).map(Pid::from_raw).map_err(failed("failed to start the command")).map_err(refused)?;
    std::thread::spawn(move || obey(orders));
    Ok(reap_until(child))
}

/// Does what the manager says; ends everything when it says so or is gone. It kills the container itself if this does not help.
fn obey(mut orders: impl Read) {
    let mut byte = [0];
    loop {
        let order = orders.read(&mut byte).ok().filter(|read| *read > 0).and_then(|_| Order::of(byte[0]));
        let signal = if order == Some(Order::Terminate) { Signal::SIGTERM } else { Signal::SIGKILL };
        // All in the namespace but this process; fails only if there is none.
        kill(Pid::from_raw(-1), signal).ok();
        if order.is_none() {
            std::process::exit(KILLED);
        }
    }
}
