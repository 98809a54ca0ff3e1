//! Last step before the command: limits, privileges, and then the command itself.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::failed;
use super::outer::map_user;
use crate::plan::{Mode, OPEN_FILES, Plan};

/// The command can't be run, as shells tell it: not executable, not found.
pub(super) const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// User that an ordinary user's sandbox is, in its own eyes.
const INNER_USER: u32 = 1000;

/// Becomes the command.
pub(super) fn run() -> ExitCode {
    match become_command() {
        Ok((code, text)) | Err((code, text)) => {
            // The command's own standard error: who reads that is told.
            drop(writeln!(io::stderr(), "sandbox: {text}"));
            ExitCode::from(code)
        }
    }
}

/// Returns only if it fails.
fn become_command() -> Result<(u8, String), (u8, String)> {
    let refused = |text| (NOT_EXECUTABLE, text);
    let plan = Plan::from_environment().map_err(failed("no plan")).map_err(refused)?;
    limit(&plan).map_err(failed("failed to set limits")).map_err(refused)?;
    drop_privileges(&plan).map_err(failed("failed to drop privileges")).map_err(refused)?;
    let Some((program, arguments)) = plan.command.split_first() else { return Err(refused("no command".to_owned())) };
    let error = Command::new(program).args(arguments).env_clear().envs(&plan.environment).exec();
    Ok(refused_start(program, &error))
}

/// Tells a command that can't be started: exit code and text.
pub(super) fn refused_start(program: &str, error: &io::Error) -> (u8, String) {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    (code, format!("failed to start {program:?}: {error}"))
}

fn limit(plan: &Plan) -> nix::Result<()> {
    let wanted = [
        (Resource::RLIMIT_CORE, Some(0)),
        (Resource::RLIMIT_NOFILE, Some(OPEN_FILES)),
        (Resource::RLIMIT_NPROC, plan.processes),
        (Resource::RLIMIT_FSIZE, Some(plan.file_size)),
        (Resource::RLIMIT_CPU, Some(plan.cpu_seconds)),
        (Resource::RLIMIT_DATA, plan.data_size),
    ];
    for (resource, most) in wanted {
        let Some(most) = most else { continue };
        // What holds already is never raised.
        let (_, hard) = getrlimit(resource)?;
        setrlimit(resource, most.min(hard), most.min(hard))?;
    }
    Ok(())
}

fn drop_privileges(plan: &Plan) -> io::Result<()> {
    if let Some(user) = plan.user {
        setgroups(&[])?;
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    if plan.mode == Mode::User {
        // The rights over the sandbox's own namespaces stay behind; so does the right to undo their mounts.
        match unshare(CloneFlags::CLONE_NEWUSER) {
            Ok(()) => map_user(INNER_USER, 0, 0)?,
            // Where namespaces may not be nested, what is outside is still out of reach.
            Err(Errno::EPERM | Errno::ENOSPC) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(set_no_new_privs()?)
}
