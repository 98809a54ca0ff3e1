//! One container from its making to its removal.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use prost::Message;
use prost_types::Any;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::SNAPSHOTTER;
use super::api::containerd::services::containers::v1::{Container, CreateContainerRequest, DeleteContainerRequest};
use super::api::containerd::services::snapshots::v1::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use super::api::containerd::services::tasks::v1::{
    CloseIoRequest, CreateTaskRequest, DeleteTaskRequest, KillRequest, MetricsRequest, StartRequest, WaitRequest,
};
use super::api::containerd::types::Metric;
use super::api::io::containerd::cgroups::{v1, v2};
use super::client::{CallError, Client, within};
use super::streams::{Streams, path};
use crate::plan::{Errand, Order};
use crate::runtime::{Ended, RuntimeError};

/// Time between asking a command to end and killing it.
const GRACE: Duration = Duration::from_secs(2);
/// Longest time that ending may take.
const LAST: Duration = Duration::from_secs(20);
/// Pause before containerd, which may just be started anew, is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// A container whose end nobody saw.
const KILLED: i32 = 137;

/// Makes a container on a snapshot of its own and starts it; gives back the pipes, with the errand on its way.
///
/// The container is recorded first, so that whatever happens after that is found.
pub(super) async fn start(
    client: &Client,
    container: Container,
    parent: &str,
    (folder, errand): (&Path, &Errand),
) -> Result<Streams, RuntimeError> {
    let failed = |error: std::io::Error| RuntimeError(format!("failed to set up a container's pipes: {error}"));
    let mut streams = Streams::make(folder).map_err(failed)?;
    let id = container.id.clone();
    let request = CreateContainerRequest { container: Some(container) };
    within("record a container", client.containers().create(request)).await?;
    let request =
        PrepareSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.clone(), parent: parent.to_owned(), labels: [].into() };
    let rootfs = within("make a container's root", client.snapshots().prepare(request)).await?.mounts;
    let pipe = |name| path(folder, name).display().to_string();
    let request =
        CreateTaskRequest { container_id: id.clone(), rootfs, stdin: pipe("stdin"), stdout: pipe("stdout"), stderr: pipe("stderr") };
    within("make a container", client.tasks().create(request)).await?;
    within("start a container", client.tasks().start(StartRequest { container_id: id.clone() })).await?;
    // containerd's own writing end: only ours holds the input open from here on, so that it ends with this program.
    within("let go of a container's input", client.tasks().close_io(CloseIoRequest { container_id: id, stdin: true })).await?;
    let mut line = serde_json::to_vec(errand).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    timeout(LAST, streams.stdin.write_all(&line)).await.map_err(std::io::Error::from).and_then(|written| written).map_err(failed)?;
    Ok(streams)
}

/// Passes orders on until the container has ended.
pub(super) async fn end(client: Client, id: String, mut stdin: pipe::Sender, mut orders: UnboundedReceiver<Order>) -> Ended {
    let waited = wait(&client, &id);
    tokio::pin!(waited);
    let mut deadline = None;
    let exit_code = loop {
        tokio::select! {
            code = &mut waited => break code,
            Some(order) = orders.recv() => match order {
                Order::Terminate => {
                    deadline = Some(Instant::now() + GRACE);
                    // Not waited for: a container that does not read it is killed.
                    drop(timeout(PAUSE, stdin.write_all(&[order.byte()])).await);
                }
                Order::Kill => deadline = Some(Instant::now()),
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                deadline = None;
                if let Err(error) = kill(&client, &id).await {
                    tracing::warn!(sandbox = %id, error = %RuntimeError::from(error), "a container is not killed yet");
                    deadline = Some(Instant::now() + PAUSE);
                }
            }
        }
    };
    Ended { exit_code, oom_kills: oom_kills(&client, &id).await }
}

/// Waits for the end of a container; returns its exit code.
async fn wait(client: &Client, id: &str) -> i32 {
    loop {
        match client.tasks().wait(WaitRequest { container_id: id.to_owned() }).await {
            Ok(answer) => return i32::try_from(answer.into_inner().exit_status).unwrap_or(KILLED),
            Err(status) if status.code() == tonic::Code::NotFound => return KILLED,
            // Containers outlive containerd.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Kills the first process of a container, and all others with it.
async fn kill(client: &Client, id: &str) -> Result<(), CallError> {
    let request = KillRequest { container_id: id.to_owned(), signal: Signal::SIGKILL as u32, all: false };
    gone(within("kill a container", client.tasks().kill(request)).await)
}

/// Returns how often the kernel killed a process of a container that has ended because of its memory.
async fn oom_kills(client: &Client, id: &str) -> u64 {
    let request = MetricsRequest { filters: vec![format!("id=={id}")] };
    match within("count what a container used", client.tasks().metrics(request)).await {
        Ok(answer) => answer.metrics.into_iter().find(|metric| metric.id == id).map_or(0, |metric| count(&metric)),
        Err(error) => {
            tracing::warn!(sandbox = %id, error = %RuntimeError::from(error), "it is not known whether memory ran out");
            0
        }
    }
}

fn count(metric: &Metric) -> u64 {
    let Some(data) = &metric.data else { return 0 };
    let bytes = data.value.as_slice();
    match data.type_url.rsplit('/').next() {
        Some("io.containerd.cgroups.v1.Metrics") => {
            v1::Metrics::decode(bytes).ok().and_then(|metrics| metrics.memory_oom_control).map_or(0, |memory| memory.oom_kill)
        }
        Some("io.containerd.cgroups.v2.Metrics") => {
            v2::Metrics::decode(bytes).ok().and_then(|metrics| metrics.memory_events).map_or(0, |memory| memory.oom_kill)
        }
        _ => 0,
    }
}

/// Ends a container and removes all that belongs to it; its record last, so that what fails is tried again.
pub(super) async fn remove(client: &Client, id: &str) -> Result<(), RuntimeError> {
    kill(client, id).await?;
    drop(timeout(LAST, wait(client, id)).await);
    let end = Instant::now() + LAST;
    loop {
        let deleted = gone(within("remove a container", client.tasks().delete(DeleteTaskRequest { container_id: id.to_owned() })).await);
        match deleted {
            Ok(()) => break,
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => sleep(PAUSE).await,
        }
    }
    let request = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    gone(within("remove a container's root", client.snapshots().remove(request)).await)?;
    gone(within("forget a container", client.containers().delete(DeleteContainerRequest { id: id.to_owned() })).await)?;
    Ok(())
}

/// Takes what is not there for done.
fn gone<T>(answer: Result<T, CallError>) -> Result<(), CallError> {
    match answer {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}

/// Wraps a message as the `Any` of its name.
pub(super) fn any(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: name.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions_and_nothing_is_made_of_others() {
        let one = v1::Metrics { memory_oom_control: Some(v1::MemoryOomControl { oom_kill: 2 }) }.encode_to_vec();
        let two = v2::Metrics { memory_events: Some(v2::MemoryEvents { oom_kill: 3 }) }.encode_to_vec();
        for (name, bytes, kills) in [
            ("io.containerd.cgroups.v1.Metrics", one.clone(), 2),
            ("types.containerd.io/io.containerd.cgroups.v2.Metrics", two, 3),
            ("io.containerd.cgroups.v3.Metrics", one, 0),
            ("io.containerd.cgroups.v2.Metrics", vec![7], 0),
        ] {
            assert_eq!(count(&Metric { id: "id".to_owned(), data: Some(any(name, bytes)) }), kills, "{name}");
        }
        assert_eq!(count(&Metric { id: "id".to_owned(), data: None }), 0);
    }
}
