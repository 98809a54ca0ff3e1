//! Keeps the objects of this machine, lets the controllers work, and tells the runtime what is to run.
//!
//! One thread owns everything (the [`Room`]); connections and the runtime send it orders and wait for answers. The process outlives the
//! command that started it, and may be killed at any time: what was answered is on the disk, and what runs goes on. When nothing is to run
//! and nobody asks, it ends; the next command starts another one.

mod connection;
mod fetch;
mod room;
mod turns;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use jiff::Timestamp;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use self::connection::Shared;
pub(crate) use self::room::Published;
use self::room::Room;
use self::turns::{Order, Orders};
use crate::client::Launch;
use crate::controllers::{Book, known_block};
use crate::kubelet::{Kubelet, Wanted};
use crate::network::Block;
use crate::socket;
use crate::store::{Folder, Store, StoreError};
use crate::watcher::Watched;

/// Connections at the same time.
const MOST_CONNECTIONS: usize = 512;
/// How long another supervisor of the same folder may take to hand over.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Wait before a folder that could not be removed is tried again.
const DISCARD_RETRY: Duration = Duration::from_secs(5);

/// What a supervisor works with.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// State folder; ours are `objects` and `control` in it.
    pub state: PathBuf,
    /// Which build this is: a client of a greater one asks it to hand over.
    pub build: u64,
    /// How the process is started that brings this one back, a program whose `main` leads to [`crate::wait_for_end`] and then here; nobody
    /// brings it back if none.
    pub watcher: Option<Launch>,
    /// It ends by itself when nothing was to run and nobody has asked for that long, and at most for twice as long.
    pub idle: Duration,
}

/// Why a supervisor can't work.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// The state folder can't be used.
    #[error("failed to {action} {}", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another one works on the folder.
    #[error("another supervisor works on {}", path.display())]
    Busy {
        /// Which folder.
        path: PathBuf,
    },
    /// The objects can't be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another platform of this machine has the block of addresses.
    #[error("the addresses from {block} on are used by another platform on this machine: stop it, or use another state folder")]
    BlockTaken {
        /// First address.
        block: Ipv4Addr,
    },
    /// No block of addresses is free.
    #[error("no block of 127.0.0.0/8 is free")]
    NoBlock,
    /// The runtime can't start.
    #[error("the runtime can't start")]
    Runtime(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread of the objects has ended by itself.
    #[error("the supervisor broke off")]
    Broken,
}

/// Works until it is told to end: by a signal, or by a newer client. What runs goes on.
///
/// `open` starts the runtime as soon as the state folder is ours.
///
/// # Errors
/// [`SupervisorError`].
pub async fn supervise<K: Kubelet>(
    settings: SupervisorSettings,
    open: impl FnOnce() -> Result<K, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<(), SupervisorError> {
    let state = settings.state.clone();
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SupervisorError::State { action, path, source }
    };
    let control = socket::control(&state).map_err(failed("make", &state))?;
    let _lock = own(&state, &control).await?;
    let store = open_store(&state)?;
    let (store, block) = with_block(store, &state)?;
    let kubelet = Arc::new(open().map_err(SupervisorError::Runtime)?);
    let (wanted, changes) = watch::channel(Wanted::default());
    let room = Room::new(store, block.first(), wanted, Timestamp::now());
    let (orders, ended) = turns::start(room).map_err(failed("start a thread for", &state))?;
    let (tell, listen) = (tell_runtime(kubelet.clone(), changes, orders.clone()), hear_runtime(kubelet.clone(), orders.clone()));
    let (tell, listen) = (tokio::spawn(tell), tokio::spawn(listen));
    let shared = Arc::new(Shared { orders, kubelet, build: settings.build, end: Notify::new(), places: Semaphore::new(MOST_CONNECTIONS) });
    let watched = settings.watcher.map(Watched::start);
    let listener = socket::listen(&control).map_err(failed("listen at the socket of", &control))?;
    tracing::info!(state = %state.display(), block = %block.first(), "the supervisor works");
    let served = serve(&listener, &shared, ended, &state, settings.idle).await;
    // While the lock is still ours: the watcher must not take its release for a crash.
    if let (Ok(()), Some(watched)) = (&served, watched) {
        watched.end().await;
    }
    tell.abort();
    listen.abort();
    served
}

/// Leads a session of its own, so that no signal of a terminal ends this process; to be called first in the supervisor's role.
///
/// # Errors
/// If that can't be.
pub fn detach() -> io::Result<()> {
    match nix::unistd::setsid() {
        // It leads its group, and so has no terminal to lose.
        Ok(_) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn serve<K: Kubelet>(
    listener: &tokio::net::UnixListener,
    shared: &Arc<Shared<K>>,
    mut ended: oneshot::Receiver<()>,
    state: &Path,
    idle: Duration,
) -> Result<(), SupervisorError> {
    let failed = |source| SupervisorError::State { action: "wait for signals at", path: state.to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut connections = JoinSet::new();
    let mut look = interval_at(Instant::now() + idle, idle);
    let mut was_asked = false;
    loop {
        // Those that have ended.
        while connections.try_join_next().is_some() {}
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    was_asked = true;
                    connections.spawn(connection::serve(shared.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = shared.end.notified() => return Ok(()),
            _ = look.tick() => {
                let is_quiet = !std::mem::take(&mut was_asked) && connections.is_empty();
                if is_quiet && connection::is_at_rest(shared).await {
                    tracing::info!("nothing is to run, and nobody asks");
                    return Ok(());
                }
            }
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = &mut ended => return Err(SupervisorError::Broken),
        }
    }
}

/// Waits for the state folder to be ours alone.
async fn own(state: &Path, control: &Path) -> Result<nix::fcntl::Flock<fs::File>, SupervisorError> {
    let end = Instant::now() + HAND_OVER;
    loop {
        let lock = socket::lock(control, "supervisor.lock");
        match lock.map_err(|source| SupervisorError::State { action: "lock", path: control.to_owned(), source })? {
            Some(lock) => return Ok(lock),
            None if Instant::now() >= end => return Err(SupervisorError::Busy { path: state.to_owned() }),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn open_store(state: &Path) -> Result<Store<Folder>, SupervisorError> {
    let path = state.join("objects");
    let folder = Folder::open(&path).map_err(|source| SupervisorError::State { action: "open", path, source })?;
    let new_seed = || fs::read_to_string("/proc/sys/kernel/random/uuid").map(|seed| seed.trim().to_owned());
    Ok(Store::open(folder, Timestamp::now(), new_seed)?)
}

/// Takes the block of addresses that the objects remember, or a free one.
fn with_block(mut store: Store<Folder>, state: &Path) -> Result<(Store<Folder>, Block), SupervisorError> {
    let known = known_block(store.objects());
    if let Some((first, used)) = known {
        let end = Instant::now() + HAND_OVER;
        loop {
            match Block::take(first) {
                Some(block) => return Ok((store, block)),
                None if !used => break,
                None if Instant::now() >= end => return Err(SupervisorError::BlockTaken { block: first }),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    let folder = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let block = Block::take_free(&folder).ok_or(SupervisorError::NoBlock)?;
    let written = store.write(Timestamp::now(), |objects| {
        Book::read(objects, block.first()).write(objects);
        Ok(())
    });
    match written {
        Ok(_) => Ok((store, block)),
        Err(crate::store::WriteError::Store(error)) => Err(error.into()),
        Err(crate::store::WriteError::Rules(_)) => Err(SupervisorError::NoBlock),
    }
}

/// Says what is to run, and has the folders of deleted claims removed; those of a namespace that ends stay.
async fn tell_runtime<K: Kubelet>(kubelet: Arc<K>, mut changes: watch::Receiver<Wanted>, orders: Orders) {
    let mut again = false;
    loop {
        let changed = changes.changed();
        let changed = if again { tokio::time::timeout(DISCARD_RETRY, changed).await.unwrap_or(Ok(())) } else { changed.await };
        if changed.is_err() {
            return;
        }
        let wanted = changes.borrow_and_update().clone();
        let discarded = wanted.discarded.clone();
        kubelet.want(wanted).await;
        again = false;
        for claim in discarded {
            let removed = if claim.stays { Ok(()) } else { kubelet.discard(&claim).await };
            match removed {
                Ok(()) => drop(orders.send(Order::Discarded(claim))),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a folder stays for now");
                    again = true;
                }
            }
        }
    }
}

async fn hear_runtime<K: Kubelet>(kubelet: Arc<K>, orders: Orders) {
    loop {
        let report = kubelet.next_report().await;
        if orders.send(Order::Report(report)).is_err() {
            return;
        }
    }
}
