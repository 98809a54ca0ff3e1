//! Becomes a program: everything that must be done between fork and exec, in a process of its own.

use std::convert::Infallible;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};

use super::record::{Identity, LaunchSpec};
use super::{KeeperError, KernelContext as _};

/// Exit code of a program that could not be started, as container runtimes have it.
pub(super) const NOT_STARTED: u8 = 128;

/// Reads from standard input what to become, and becomes it.
pub(super) fn become_program() -> Result<Infallible, KeeperError> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).trying("read what to start")?;
    let spec: LaunchSpec =
        serde_json::from_slice(&text).map_err(|source| KeeperError::Damaged { path: PathBuf::from("standard input"), source })?;
    drop(text);
    // Opened now: the program's user may not write there. It closes when the program starts.
    let note = spec.failure.as_ref().map(|path| OpenOptions::new().create(true).append(true).mode(0o600).open(path));
    let note = note.transpose().trying("open the file for what goes wrong")?;
    let Err(error) = attempt(&spec);
    if let Some(mut note) = note {
        note.write_all(explained(&error).as_bytes()).trying("write down what went wrong")?;
    }
    Err(error)
}

fn attempt(spec: &LaunchSpec) -> Result<Infallible, KeeperError> {
    SigSet::empty().thread_set_mask().trying("take signals again")?;
    for group in &spec.groups {
        let path = group.join("cgroup.procs");
        fs::write(&path, "0").map_err(|source| KeeperError::File { action: "join the control group by", path, source })?;
    }
    limit(Resource::RLIMIT_CORE, 0)?;
    if let Some(bytes) = spec.data_limit {
        limit(Resource::RLIMIT_DATA, bytes)?;
    }
    prctl::set_no_new_privs().trying("give up new rights")?;
    // Read with our rights: the folders above it may be closed to the program's user.
    let program = File::open(&spec.program).ok();
    if let Some(identity) = &spec.identity {
        become_user(identity)?;
    }
    // Behind the change of user, which takes it back.
    prctl::set_pdeathsig(Signal::SIGKILL).trying("end with the keeper")?;
    if Pid::parent().as_raw() != spec.parent {
        return Err(KeeperError::Kernel { action: "start below its keeper", source: io::Error::other("the keeper has ended") });
    }
    let refused = command(spec, &spec.program).exec();
    let refused = match (refused.kind(), program) {
        (io::ErrorKind::PermissionDenied, Some(program)) if is_machine_code(&program) => {
            let path = PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()));
            command(spec, &path).exec()
        }
        _ => refused,
    };
    Err(KeeperError::File { action: "start", path: spec.program.clone(), source: refused })
}

fn command(spec: &LaunchSpec, path: &Path) -> Command {
    let mut command = Command::new(path);
    command.arg0(&spec.program).args(&spec.args).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(&spec.cwd).stdin(Stdio::null());
    command
}

/// A script is read by its interpreter from its path, so only machine code can be started from a descriptor.
fn is_machine_code(mut program: &File) -> bool {
    let mut start = [0; 4];
    program.read_exact(&mut start).is_ok() && &start == b"\x7fELF"
}

fn become_user(identity: &Identity) -> Result<(), KeeperError> {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setgroups(&groups).trying("set its groups")?;
    setresgid(gid, gid, gid).trying("set its group")?;
    setresuid(uid, uid, uid).trying("set its user")
}

fn limit(resource: Resource, wanted: u64) -> Result<(), KeeperError> {
    let (_, most) = getrlimit(resource).trying("read a limit")?;
    let wanted = wanted.min(most);
    setrlimit(resource, wanted, wanted).trying("set a limit")
}

/// Writes an error with everything behind it to standard error, which is the container's log or the keeper's own.
pub(super) fn complain(error: &KeeperError) {
    // There is nobody else to tell.
    drop(writeln!(io::stderr(), "{}", explained(error)));
}

fn explained(error: &KeeperError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
