//! Joins the control groups and makes the namespaces; what is in them is the next role's.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{close, getegid, geteuid};

use super::{INIT, failed, socket};
use crate::plan::{Mode, Plan, Report, send};

/// Sets up what a new process is needed for, starts init and waits for it.
pub(super) fn run() -> ExitCode {
    // First: what this role opens itself must stay.
    close_strangers();
    let Ok(socket) = socket() else { return ExitCode::FAILURE };
    match set_up().and_then(|()| start()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            send(&socket, &Report::Failed { what });
            ExitCode::FAILURE
        }
    }
}

fn set_up() -> Result<(), String> {
    let plan = Plan::from_environment().map_err(failed("no plan"))?;
    for group in &plan.groups {
        // 0 is who writes.
        fs::write(group.join("cgroup.procs"), "0").map_err(failed("failed to join a control group"))?;
    }
    let inner =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    match plan.mode {
        Mode::Bare => Ok(()),
        Mode::Root => unshare(inner).map_err(failed("failed to make namespaces")),
        Mode::User => {
            let (user, group) = (geteuid().as_raw(), getegid().as_raw());
            unshare(CloneFlags::CLONE_NEWUSER | inner).map_err(failed("failed to make namespaces"))?;
            map_user(0, user, group).map_err(failed("failed to map the user"))
        }
    }
}

/// Closes what whoever started the manager left open: a sandbox must not have it.
fn close_strangers() {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // Fails for the listing's own, which is closed already.
        close(fd).ok();
    }
}

/// Gives the user of the namespace above the id `inner` in this one.
///
/// # Errors
/// What the kernel says.
pub(super) fn map_user(inner: u32, user: u32, group: u32) -> io::Result<()> {
    let own = Path::new("/proc/self");
    // Without this an ordinary user may not map groups: a group can also take rights away.
    fs::write(own.join("setgroups"), "deny")?;
    fs::write(own.join("uid_map"), format!("{inner} {user} 1"))?;
    fs::write(own.join("gid_map"), format!("{inner} {group} 1"))
}

fn start() -> Result<(), String> {
    let program = std::env::current_exe().map_err(failed("failed to find the program"))?;
    let mut init = Command::new(program).arg(INIT).spawn().map_err(failed("failed to start init"))?;
    init.wait().map_err(failed("failed to wait for init")).map(drop)
}
