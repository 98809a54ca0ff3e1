//! Records wait for their turn: one queue for each key, a bounded number of keys at work.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tracker::{Stay, Tracker};
use super::{Received, Verdict};

/// Longest wait before a record whose work panicked is given again.
const LONGEST: Duration = Duration::from_secs(30);

type Work = dyn Fn(Received) -> BoxFuture<'static, Verdict> + Send + Sync;
type Waiting = HashMap<Vec<u8>, VecDeque<(Received, Stay)>>;

/// The queues; clones share them.
#[derive(Clone)]
pub(crate) struct Queues {
    tracker: Arc<Tracker>,
    /// A key that is here has a task that works through its queue; the first is the one at work.
    waiting: Arc<Mutex<Waiting>>,
    slots: Arc<Semaphore>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    work: Arc<Work>,
}

impl Queues {
    pub(crate) fn new<F>(
        tracker: Arc<Tracker>,
        concurrency: usize,
        (stopping, tasks): (CancellationToken, TaskTracker),
        work: impl Fn(Received) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let work: Arc<Work> = Arc::new(move |received| Box::pin(work(received)));
        let slots = Arc::new(Semaphore::new(concurrency.max(1)));
        Self { tracker, waiting: Arc::default(), slots, stopping, tasks, work }
    }

    /// Puts a record behind those of its key.
    pub(crate) fn put(&self, handle: &Handle, received: Received, stay: Stay) {
        let key = received.key.clone();
        let mut waiting = self.lock();
        if let Some(queue) = waiting.get_mut(&key) {
            queue.push_back((received, stay));
            return;
        }
        waiting.insert(key.clone(), VecDeque::from([(received, stay)]));
        drop(waiting);
        self.tasks.spawn_on(self.clone().work_through(key), handle);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first record of a key; without one the key is forgotten.
    fn first(&self, key: &[u8]) -> Option<(Received, Stay)> {
        let mut waiting = self.lock();
        let first = waiting.get(key).and_then(|queue| queue.front().cloned());
        if first.is_none() {
            waiting.remove(key);
        }
        first
    }

    async fn work_through(self, key: Vec<u8>) {
        while let Some((received, stay)) = self.first(&key) {
            self.settle(received, stay).await;
            if let Some(queue) = self.lock().get_mut(&key) {
                queue.pop_front();
            }
        }
    }

    /// Gives a record to the work until it is done, or its partition has left.
    async fn settle(&self, mut received: Received, stay: Stay) {
        let (partition, offset) = (received.partition, received.offset);
        loop {
            // The semaphore is never closed.
            let slot = self.slots.acquire().await;
            if self.stopping.is_cancelled() || !self.tracker.begin(partition, stay) {
                return;
            }
            let worked = AssertUnwindSafe((self.work)(received.clone())).catch_unwind().await;
            let verdict = worked.unwrap_or_else(|_| Verdict::Later(backoff(received.attempts)));
            self.tracker.end(partition, stay, offset, verdict == Verdict::Done);
            drop(slot);
            let wait = match verdict {
                Verdict::Done => return,
                Verdict::NotYet(wait) => wait,
                Verdict::Later(wait) => {
                    received.attempts += 1;
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << attempts.min(5)).min(LONGEST)
}
