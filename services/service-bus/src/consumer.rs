//! A consumer group: records of one key one after the other, of several keys at the same time, none forgotten.
//!
//! A thread of its own does nothing but ask the brokers, so that however long the work on a record takes, the group never takes this
//! process for dead. An offset is committed once all records before it are done.

mod lag;
mod poll;
mod queues;
mod tracker;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{BusError, BusSettings};
use poll::Poller;
use queues::Queues;
use tracker::Tracker;

/// A record, with the place that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Key; the partition's number stands for a key that is not there.
    pub key: Vec<u8>,
    /// Content.
    pub payload: Vec<u8>,
    /// Headers with a text as value.
    pub headers: Vec<(String, String)>,
    /// How often it failed before, in this process.
    pub attempts: u32,
}

impl Received {
    /// Returns the text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done, and may be forgotten.
    Done,
    /// It failed, and is to be given again after this time; records of its key wait behind it.
    Later(Duration),
    /// Its time has not come; as [`Verdict::Later`], but this was no attempt.
    NotYet(Duration),
}

/// What to consume, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Topic.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// Most records that are worked on at the same time.
    pub concurrency: usize,
    /// Most records that are held in memory; no more are fetched then.
    pub buffered: usize,
    /// How long partitions that go to another process are held for the work that runs on them.
    pub handover: Duration,
}

impl ConsumerOptions {
    /// Takes what must be said; a thousand records are held, and a handover may take five seconds.
    pub fn new(topic: impl Into<String>, group: impl Into<String>, concurrency: usize) -> Self {
        Self { topic: topic.into(), group: group.into(), concurrency, buffered: 1000, handover: Duration::from_secs(5) }
    }
}

/// Gives the records of a topic to `work` until `stop`, as a member of a consumer group.
///
/// A panic in `work` means later. When it stops, no record is begun any more, partitions go to other members, and what runs is waited
/// for as long as `work` takes: the offsets of what ends after the handover are not committed.
///
/// # Errors
/// [`BusError::Client`] if the client can't be set up; a broker that is not there is waited for.
pub async fn consume<F>(
    settings: &BusSettings,
    options: ConsumerOptions,
    stop: impl Future<Output = ()> + Send + 'static,
    work: impl Fn(Received) -> F + Send + Sync + 'static,
) -> Result<(), BusError>
where
    F: Future<Output = Verdict> + Send + 'static,
{
    let tracker = Arc::new(Tracker::default());
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let queues = Queues::new(Arc::clone(&tracker), options.concurrency, (stopping.clone(), tasks.clone()), work);
    let poller = Poller::new(settings.clone(), options, tracker, queues)?;
    let ended = Ended::default();
    let (flag, handle) = (Arc::clone(&ended.0), Handle::current());
    let mut thread = tokio::task::spawn_blocking(move || poller.run(&handle, &flag));
    tokio::select! {
        () = stop => {}
        result = &mut thread => return result.unwrap_or(Err(BusError::Ended("consumer"))),
    }
    stopping.cancel();
    drop(ended);
    let result = thread.await.unwrap_or(Err(BusError::Ended("consumer")));
    tasks.close();
    tasks.wait().await;
    result
}

/// Ends the thread when it is dropped, also where nobody waits for the consumer any more.
#[derive(Default)]
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
