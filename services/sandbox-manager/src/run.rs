//! One sandbox from its archive to its result.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use feature_api::sandbox::run_event::Event;
use feature_api::sandbox::run_request::Part;
use feature_api::sandbox::{self, RunEvent, RunRequest};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tonic::{Status, Streaming};

use crate::end::{Cause, Counted, result};
use crate::output::{Told, output, pass};
use crate::plan::{Order, WORKSPACE};
use crate::runtime::{Prepared, Running, Runtime, RuntimeError, Work};
use crate::slots::Slot;
use crate::spec::Spec;
use crate::unpack::{Bounds, MOST_ENTRIES, UnpackError, measure, unpack};

/// How often a sandbox is looked at; more seldom if looking takes long.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_FACTOR: u32 = 10;
/// Longest time between asking a sandbox to end and cutting it off; init kills after 2 s.
const LAST: Duration = Duration::from_secs(10);
/// A tar archive is larger than its files: a head and padding for each, and its end.
const ARCHIVE_FACTOR: u64 = 2;
/// Pieces of an archive that wait for the disk.
const WAITING: usize = 4;

/// A run.
pub(crate) struct Run<R> {
    /// What makes the sandbox.
    pub(crate) runtime: Arc<R>,
    /// What to run.
    pub(crate) spec: Spec,
    /// Its place.
    pub(crate) slot: Slot,
    /// Takes events.
    pub(crate) sender: Sender<Told>,
}

impl<R: Runtime> Run<R> {
    /// Runs to the end, or until the client is gone; whatever happens, nothing is left.
    pub(crate) async fn drive(self, pieces: Streaming<RunRequest>) {
        let id = self.spec.id;
        let mut counted = Counted::start();
        let prepared = match self.runtime.prepare(&self.spec, self.slot.number()).await {
            Ok(prepared) => prepared,
            Err(error) => {
                counted.end(None, 0);
                return self.tell_failure(&error).await;
            }
        };
        let told = tokio::select! {
            told = self.work(&prepared, pieces, &mut counted) => Some(told),
            () = self.sender.closed() => None,
        };
        if let Err(error) = self.runtime.remove(&prepared.folder).await {
            tracing::error!(sandbox = %id, %error, "a sandbox is not removed; the next start tries again");
        }
        // Counted and free before the client knows: it may ask for the next one at once.
        drop((counted, self.slot));
        match told {
            Some(told) => drop(self.sender.send(told).await),
            None => tracing::info!(sandbox = %id, "the client is gone; its sandbox was ended"),
        }
    }

    async fn tell_failure(&self, error: &RuntimeError) {
        tracing::error!(sandbox = %self.spec.id, %error, "a sandbox can't be made");
        drop(self.sender.send(Err(Status::unavailable("a sandbox can't be made on this machine now"))).await);
    }

    /// Unpacks, runs and watches; returns the last event.
    async fn work(&self, prepared: &Prepared, pieces: Streaming<RunRequest>, counted: &mut Counted) -> Told {
        let ended = match self.fill(prepared, pieces).await {
            Ok(()) => self.execute(prepared).await,
            Err(status) => Err(status),
        };
        match ended {
            Ok((result, oom_kills)) => {
                tracing::info!(sandbox = %self.spec.id, exit_code = result.exit_code, oom_killed = result.oom_killed, timed_out = result.timed_out, "a sandbox ended");
                counted.end(Some(&result), oom_kills);
                Ok(RunEvent { event: Some(Event::Result(result)) })
            }
            Err(status) => {
                counted.end(None, 0);
                Err(status)
            }
        }
    }

    /// Unpacks the archive as it comes.
    async fn fill(&self, prepared: &Prepared, mut pieces: Streaming<RunRequest>) -> Result<(), Status> {
        let bytes = u64::from(self.spec.limits.workspace_mib) << 20;
        let bounds = Bounds { bytes, entries: MOST_ENTRIES, owner: prepared.owner };
        let folder = prepared.folder.join(WORKSPACE);
        let (sender, receiver) = channel(WAITING);
        let unpacked = tokio::task::spawn_blocking(move || unpack(Pieces { receiver, rest: Bytes::new() }, &folder, &bounds));
        let mut total = 0;
        while let Some(request) = pieces.message().await? {
            let Some(Part::Archive(piece)) = request.part else {
                return Err(Status::invalid_argument("only the first piece may be a spec"));
            };
            total += piece.len() as u64;
            if total > bytes.saturating_mul(ARCHIVE_FACTOR).saturating_add(1 << 20) {
                return Err(Status::invalid_argument("the archive is larger than the workspace may be"));
            }
            // Refused once the unpacking has ended: padding, or a failure that is told below.
            drop(sender.send(Bytes::from(piece)).await);
        }
        drop(sender);
        match unpacked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ UnpackError::Write(_))) => {
                tracing::error!(sandbox = %self.spec.id, ?error, "a workspace can't be written");
                Err(Status::resource_exhausted("the workspace can't be written"))
            }
            Ok(Err(error)) => Err(Status::invalid_argument(error.to_string())),
            Err(_) => Err(Status::internal("the archive can't be unpacked")),
        }
    }

    async fn execute(&self, prepared: &Prepared) -> Result<(sandbox::Result, u64), Status> {
        let work = Work { spec: &self.spec, folder: &prepared.folder, slot: self.slot.number() };
        let started = Instant::now();
        let running = self.runtime.start(work).await.map_err(|error| {
            tracing::error!(sandbox = %self.spec.id, %error, "a sandbox can't be started");
            Status::unavailable("a sandbox can't be started on this machine now")
        })?;
        let Running { stdout, stderr, orders, isolation, ended } = running;
        let most = usize::try_from(self.spec.limits.output_kib).unwrap_or(usize::MAX).saturating_mul(1024);
        let passed = async { tokio::join!(pass(stdout, false, most, &self.sender), pass(stderr, true, most, &self.sender)) };
        let work = async { tokio::join!(ended, passed) };
        tokio::pin!(work);
        let mut cause = None;
        let (ended, truncated) = tokio::select! {
            done = &mut work => done,
            found = self.watch(prepared) => {
                cause = Some(found);
                // Its own time to end is only for who took too long.
                orders.send(if found == Cause::Time { Order::Terminate } else { Order::Kill }).ok();
                tokio::select! {
                    done = &mut work => done,
                    () = sleep(LAST) => return Err(Status::internal("the sandbox did not end when it was told to; it is cut off")),
                }
            }
        };
        if cause == Some(Cause::Workspace) {
            let text = format!("sandbox: the workspace is larger than {} MiB; the command was killed\n", self.spec.limits.workspace_mib);
            drop(self.sender.send(Ok(output(true, text.into_bytes()))).await);
        }
        Ok((result(ended, cause, truncated.0 || truncated.1, started, &isolation), ended.oom_kills))
    }

    /// Returns when a limit is reached that nothing else holds.
    async fn watch(&self, prepared: &Prepared) -> Cause {
        tokio::select! {
            () = sleep(self.spec.limits.timeout) => Cause::Time,
            cause = self.look_again_and_again(prepared) => cause,
        }
    }

    async fn look_again_and_again(&self, prepared: &Prepared) -> Cause {
        let (bytes, memory) = (u64::from(self.spec.limits.workspace_mib) << 20, u64::from(self.spec.limits.memory_mib) << 20);
        let mut pause = LOOK;
        loop {
            sleep(pause).await;
            let begun = Instant::now();
            let (runtime, folder) = (Arc::clone(&self.runtime), prepared.folder.clone());
            let looked = tokio::task::spawn_blocking(move || (runtime.watched_memory(&folder), measured(&folder)));
            match looked.await {
                Ok((Some(used), _)) if used > memory => return Cause::Memory,
                // What can't be looked into may hold anything.
                Ok((_, Some((used, entries)))) if used <= bytes && entries <= MOST_ENTRIES => {}
                _ => return Cause::Workspace,
            }
            pause = LOOK.max(begun.elapsed() * LOOK_FACTOR);
        }
    }
}

fn measured(folder: &std::path::Path) -> Option<(u64, usize)> {
    let parts = [WORKSPACE, "tmp"].map(|name| measure(&folder.join(name)).ok());
    let [Some(workspace), Some(tmp)] = parts else { return None };
    Some((workspace.0 + tmp.0, workspace.1 + tmp.1))
}

/// Pieces of an archive, read by a thread of their own.
struct Pieces {
    receiver: Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let read = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
