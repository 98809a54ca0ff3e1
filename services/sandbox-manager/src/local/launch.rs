//! Starting the roles of a sandbox, and hearing from them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdSocket;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::record::Record;
use crate::groups;
use crate::plan::{Order, Plan, Report, VARIABLE};
use crate::procs::ProcessRef;
use crate::role::OUTER;
use crate::runtime::{Ended, Running, RuntimeError, Stream};

/// Longest time until a sandbox is set up.
const SET_UP: Duration = Duration::from_secs(20);
/// A sandbox whose init was killed.
const KILLED: i32 = 137;

/// Starts a sandbox and waits until it is set up.
pub(super) async fn launch(plan: &Plan, mut record: Record) -> Result<Running, RuntimeError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| RuntimeError(format!("failed to {what}: {error}"));
    let (ours, theirs) = StdSocket::pair().map_err(|error| failed("make a socket", &error))?;
    ours.set_nonblocking(true).map_err(|error| failed("use a socket", &error))?;
    let ours = UnixStream::from_std(ours).map_err(|error| failed("use a socket", &error))?;
    let program = std::env::current_exe().map_err(|error| failed("find the program", &error))?;
    let text = serde_json::to_string(plan).map_err(|error| failed("write a plan", &error))?;
    let mut command = Command::new(program);
    command.arg(OUTER).env_clear().env(VARIABLE, text).current_dir("/").process_group(0);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut outer = command.spawn().map_err(|error| failed("start a sandbox", &error))?;
    // It holds the other end of the socket, whose closing is the sandbox's end.
    drop(command);
    record.outer = outer.id().and_then(|id| ProcessRef::find(i32::try_from(id).ok()?));
    record.write().map_err(|error| failed("record a sandbox", &error))?;
    let (Some(stdout), Some(stderr)) = (outer.stdout.take(), outer.stderr.take()) else {
        return Err(RuntimeError("a sandbox has no output".to_owned()));
    };
    let (read, write) = ours.into_split();
    let mut reports = BufReader::new(read).lines();
    let isolation = match timeout(SET_UP, next(&mut reports)).await {
        Ok(Some(Report::Ready { isolation })) => isolation,
        Ok(Some(Report::Failed { what })) => return Err(RuntimeError(what)),
        Ok(Some(Report::Ended { .. }) | None) => return Err(RuntimeError("a sandbox ended before it was set up".to_owned())),
        Err(_) => return Err(RuntimeError(format!("a sandbox was not set up within {} s", SET_UP.as_secs()))),
    };
    let (orders, received) = unbounded_channel();
    let ended = Box::pin(end(outer, (reports, write), received, record.groups));
    let (stdout, stderr): (Stream, Stream) = (Box::pin(stdout), Box::pin(stderr));
    Ok(Running { stdout, stderr, orders, isolation, ended })
}

async fn next(reports: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Report> {
    let line = reports.next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}

/// Passes orders on until the sandbox has ended.
async fn end(
    mut outer: Child,
    (mut reports, mut write): (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf),
    mut orders: UnboundedReceiver<Order>,
    groups: Vec<std::path::PathBuf>,
) -> Ended {
    let mut exit_code = KILLED;
    loop {
        tokio::select! {
            report = next(&mut reports) => match report {
                Some(Report::Ended { code }) => exit_code = code,
                Some(Report::Ready { .. } | Report::Failed { .. }) => {}
                None => break,
            },
            Some(order) = orders.recv() => {
                // Fails only if it ends just now.
                drop(write.write_all(&[order.byte()]).await);
            }
        }
    }
    // Both ends are closed, so that init is gone or goes; the outer role waits for it.
    drop((reports, write));
    drop(outer.wait().await);
    Ended { exit_code, oom_kills: groups::oom_kills(&groups) }
}
