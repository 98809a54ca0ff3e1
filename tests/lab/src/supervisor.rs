//! Runs the servers of a region: starts each when what it needs answers, and starts it again when it ends.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{FileContext, LabError};
use crate::region::{Region, write_new};
use crate::servers::{After, Server};
use crate::settings::cache_folder;

const TICK: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs `servers` for ever; only the end of the region ends it.
///
/// While the file `hold/<name>` exists, the server of that name is not started again.
pub(crate) fn run(region: &Region, servers: Vec<Server>, path: &str) -> Result<(), LabError> {
    let mut slots: Vec<Slot> = servers.into_iter().map(Slot::new).collect();
    loop {
        reap(&mut slots)?;
        for slot in &mut slots {
            if slot.is_due() && !region.path("hold").join(slot.server.name).exists() && answers(&slot.server.after) {
                slot.start(region, path)?;
            }
        }
        thread::sleep(TICK);
    }
}

/// One server and what became of it.
struct Slot {
    server: Server,
    pid: Option<Pid>,
    started: Instant,
    pause: Duration,
    not_before: Instant,
}

impl Slot {
    fn new(server: Server) -> Self {
        let now = Instant::now();
        Self { server, pid: None, started: now, pause: FIRST_PAUSE, not_before: now }
    }

    fn is_due(&self) -> bool {
        self.pid.is_none() && Instant::now() >= self.not_before
    }

    fn start(&mut self, region: &Region, path: &str) -> Result<(), LabError> {
        let child = command(region, &self.server, path)?
            .spawn()
            .map_err(|source| LabError::Spawn { program: self.server.program.display().to_string(), source })?;
        // Linux process ids fit into 22 bits.
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        self.pid = Some(Pid::from_raw(pid));
        self.started = Instant::now();
        write_new(&region.path("pids").join(self.server.name), pid.to_string().as_bytes())
    }

    fn ended(&mut self) {
        self.pid = None;
        let long = self.started.elapsed() > Duration::from_secs(10);
        self.pause = if long { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.not_before = Instant::now() + self.pause;
    }
}

/// Collects every process that ended: servers, and what other programs left to the first process.
fn reap(slots: &mut [Slot]) -> Result<(), LabError> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(status) => {
                if let Some(slot) = slots.iter_mut().find(|slot| slot.pid.is_some() && slot.pid == status.pid()) {
                    slot.ended();
                }
            }
            Err(Errno::EINTR) => {}
            Err(source) => return Err(LabError::Kernel { action: "wait for the servers".into(), source }),
        }
    }
}

fn answers(after: &After) -> bool {
    let port = |port: u16| TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1)).is_ok();
    match after {
        After::Nothing => true,
        After::Port(number) => port(*number),
        After::SocketAndPort(path, number) => UnixStream::connect(path).is_ok() && port(*number),
    }
}

fn command(region: &Region, server: &Server, path: &str) -> Result<Command, LabError> {
    let log = region.logs().join(format!("{}.log", server.name));
    let out = fs::OpenOptions::new().create(true).append(true).open(&log).on("open", &log)?;
    let errors = out.try_clone().on("open", &log)?;
    let mut command = Command::new(&server.program);
    command.args(&server.args).env_clear().envs(environment(region, path)?).current_dir("/");
    command.stdin(Stdio::null()).stdout(out).stderr(errors).process_group(0);
    Ok(command)
}

/// Servers get nothing else of the caller's environment: proxies, registry logins and Go's own switches would change what they do.
fn environment(region: &Region, path: &str) -> Result<BTreeMap<&'static str, String>, LabError> {
    let cache = cache_folder()?;
    Ok(BTreeMap::from([
        ("PATH", path.to_owned()),
        ("HOME", region.dir.display().to_string()),
        ("XDG_CACHE_HOME", cache.parent().unwrap_or(&cache).display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
    ]))
}
