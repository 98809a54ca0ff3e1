//! Who may use a cached repository: one lock among the requests of a service, one among services.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{Failure, Reason};

/// How often a lock that another service holds is asked for.
const PAUSE: Duration = Duration::from_millis(25);

/// How a repository is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held until this is dropped; the system lets it go with the process.
pub(super) struct Held {
    // In this order: the next in this service finds the file's lock free.
    _file: Flock<File>,
    _gate: Gate,
}

#[expect(dead_code, reason = "held for their end")]
enum Gate {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

/// The locks among the requests of this service; who came first is served first.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<String, Arc<RwLock<()>>>>);

impl Gates {
    /// Waits for a repository's lock, at most `limit`.
    ///
    /// # Errors
    /// [`Reason::Busy`] if it is not free within that time.
    pub(super) async fn hold(&self, key: &str, path: &Path, mode: Mode, limit: Duration) -> Result<Held, Failure> {
        let deadline = Instant::now() + limit;
        let busy = || Failure::new(Reason::Busy, format!("others held the repository for {} s", limit.as_secs()));
        let gate = self.gate(key);
        let gate = match mode {
            Mode::Shared => timeout_at(deadline, gate.read_owned()).await.map(Gate::Shared),
            Mode::Exclusive => timeout_at(deadline, gate.write_owned()).await.map(Gate::Exclusive),
        };
        let gate = gate.map_err(|_| busy())?;
        loop {
            match try_lock(path, mode).map_err(|error| Failure::internal("failed to lock a repository", &error))? {
                Some(file) => return Ok(Held { _file: file, _gate: gate }),
                None if Instant::now() >= deadline => return Err(busy()),
                None => sleep(PAUSE).await,
            }
        }
    }

    fn gate(&self, key: &str) -> Arc<RwLock<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody holds or waits for a gate that only the map knows.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        Arc::clone(gates.entry(key.to_owned()).or_default())
    }
}

/// Takes a lock file's lock if it is free, and notes the time of use.
///
/// # Errors
/// What the file system says.
pub(super) fn try_lock(path: &Path, mode: Mode) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    let argument = match mode {
        Mode::Shared => FlockArg::LockSharedNonblock,
        Mode::Exclusive => FlockArg::LockExclusiveNonblock,
    };
    match Flock::lock(file, argument) {
        Ok(locked) => {
            locked.set_modified(SystemTime::now())?;
            Ok(Some(locked))
        }
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_share_and_a_writer_is_alone_also_among_services() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // Two sets of gates are two services.
        let (here, there) = (Gates::default(), Gates::default());
        let soon = Duration::from_millis(60);
        let first = here.hold("a", &path, Mode::Shared, soon).await.unwrap();
        let second = there.hold("a", &path, Mode::Shared, soon).await.unwrap();
        assert_eq!(here.hold("a", &path, Mode::Exclusive, soon).await.err().unwrap().reason, Reason::Busy);
        drop(first);
        assert_eq!(here.hold("a", &path, Mode::Exclusive, soon).await.err().unwrap().reason, Reason::Busy);
        drop(second);
        let alone = here.hold("a", &path, Mode::Exclusive, soon).await.unwrap();
        assert!(there.hold("a", &path, Mode::Shared, soon).await.is_err());
        assert!(there.hold("b", &folder.path().join("other"), Mode::Exclusive, soon).await.is_ok());
        drop(alone);
        assert!(there.hold("a", &path, Mode::Shared, soon).await.is_ok());
    }
}
