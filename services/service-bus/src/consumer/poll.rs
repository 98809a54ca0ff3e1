//! The thread that asks the brokers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use metrics::gauge;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::lag::{LAG, Lag};
use super::queues::Queues;
use super::tracker::Tracker;
use super::{ConsumerOptions, Received};
use crate::context::Words;
use crate::{BusError, BusSettings};

/// Longest time in which nothing is asked while records are at work: how late offsets are stored.
const TICK: Duration = Duration::from_millis(100);
/// The same while there is nothing to do but wait for records: how late an end is noticed.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// The same while nothing is fetched: how late it is noticed that there is room again.
const HELD_TICK: Duration = Duration::from_millis(10);
/// Wait before a client that failed for good is replaced.
const REPLACE: Duration = Duration::from_secs(1);
/// Longest wait for brokers when a group is left, beyond the handover.
const LEAVE: Duration = Duration::from_secs(10);

/// How long a client may be without its group before it is replaced; it doubles with each that does not get in.
///
/// A coordinator that comes back on another port under its old number is not found again by a client that knew it before.
const OUTSIDE: Duration = Duration::from_secs(10);
const LONGEST_OUTSIDE: Duration = Duration::from_secs(80);

/// What the client calls when partitions come and go.
pub(crate) struct Group {
    words: Words,
    tracker: Arc<Tracker>,
    topic: String,
    handover: Duration,
    /// Whether the group has this client as a member, as far as it knows.
    member: AtomicBool,
    /// Whether another client has taken its place: it has no say any more.
    replaced: AtomicBool,
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.words.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.words.error(error, reason);
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if self.replaced.load(Ordering::Relaxed) {
            return;
        }
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = numbers(list);
                self.member.store(true, Ordering::Relaxed);
                tracing::info!(?partitions, topic = self.topic, "partition assigned");
                self.tracker.assign(&partitions);
            }
            Rebalance::Revoke(list) => self.revoke(consumer, &numbers(list)),
            Rebalance::Error(error) => tracing::warn!(error = error.to_string(), "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => {}
            Err(error) if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::NoOffset) => {}
            // Whoever has the partition next is given again what is done already.
            Err(error) => tracing::debug!(error = error.to_string(), "offsets not committed"),
        }
    }
}

impl Group {
    /// Hands partitions over: what runs on them is waited for, unless somebody else has them already.
    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let lost = consumer.assignment_lost();
        if lost {
            self.member.store(false, Ordering::Relaxed);
        }
        let quiet = self.tracker.quiesce(partitions, if lost { Duration::ZERO } else { self.handover });
        tracing::info!(?partitions, topic = self.topic, lost, work_ended = quiet, "partition revoked");
        if !lost {
            // Committed by the client as the partitions go.
            store(consumer, &self.topic, &self.tracker);
        }
        self.tracker.revoke(partitions);
        for partition in partitions {
            gauge!(LAG, "partition" => partition.to_string()).set(0.0);
        }
    }
}

/// One membership in a consumer group.
pub(crate) struct Poller {
    settings: BusSettings,
    options: ConsumerOptions,
    tracker: Arc<Tracker>,
    queues: Queues,
    consumer: Arc<BaseConsumer<Group>>,
}

impl Poller {
    pub(crate) fn new(settings: BusSettings, options: ConsumerOptions, tracker: Arc<Tracker>, queues: Queues) -> Result<Self, BusError> {
        let consumer = Arc::new(join(&settings, &options, &tracker)?);
        Ok(Self { settings, options, tracker, queues, consumer })
    }

    /// Polls until `ended`, then leaves the group.
    pub(crate) fn run(mut self, handle: &Handle, ended: &AtomicBool) -> Result<(), BusError> {
        let lag = Lag::start(handle, &self.consumer, &self.tracker, &self.options.topic, self.settings.limit);
        let (mut held, mut outside, mut patience) = (None, Instant::now(), OUTSIDE);
        while !ended.load(Ordering::Relaxed) {
            let tick = match held {
                Some(_) => HELD_TICK,
                None if self.tracker.open() > 0 => TICK,
                None => IDLE_TICK,
            };
            match self.consumer.poll(tick) {
                Some(Ok(message)) => self.put(handle, &message),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    tracing::error!(error = error.to_string(), "the event bus's consumer failed for good; it is replaced");
                    std::thread::sleep(REPLACE);
                    self.replace(&lag)?;
                    held = None;
                }
                // Told by the client's own words; it tries again by itself.
                Some(Err(_)) | None => {}
            }
            store(&self.consumer, &self.options.topic, &self.tracker);
            self.hold(&mut held);
            if self.consumer.context().member.load(Ordering::Relaxed) {
                (outside, patience) = (Instant::now(), OUTSIDE);
            } else if outside.elapsed() > patience {
                tracing::warn!(group = self.options.group, "not a member of the consumer group for too long; beginning anew");
                self.replace(&lag)?;
                (held, outside, patience) = (None, Instant::now(), (patience * 2).min(LONGEST_OUTSIDE));
            }
        }
        lag.stop();
        self.leave();
        Ok(())
    }

    /// Leaves the group, with the handover of what it has; brokers that are not there are not waited for.
    fn leave(self) {
        let (done, left) = mpsc::channel();
        let consumer = self.consumer;
        // The client leaves when its last holder drops it, and waits for its brokers without an end.
        drop(std::thread::spawn(move || {
            drop(consumer);
            // Refused if nobody waits any more.
            done.send(()).ok();
        }));
        if left.recv_timeout(self.options.handover + LEAVE).is_err() {
            tracing::warn!(group = self.options.group, "the event bus does not take the leave; its group misses this member soon");
        }
    }

    /// Goes on with a new client; work that runs is not interrupted.
    fn replace(&mut self, lag: &Lag) -> Result<(), BusError> {
        let next = Arc::new(join(&self.settings, &self.options, &self.tracker)?);
        let last = std::mem::replace(&mut self.consumer, next);
        last.context().replaced.store(true, Ordering::Relaxed);
        self.tracker.revoke(&self.tracker.partitions());
        lag.replace(&self.consumer);
        // Its end may wait long for brokers that are not there.
        drop(std::thread::spawn(move || drop(last)));
        Ok(())
    }

    fn put(&self, handle: &Handle, message: &BorrowedMessage<'_>) {
        if let Some(stay) = self.tracker.receive(message.partition(), message.offset()) {
            self.queues.put(handle, received(message), stay);
        }
    }

    /// Fetches no more while too many records wait: `held` are the partitions that are paused.
    fn hold(&self, held: &mut Option<Vec<i32>>) {
        let (open, here) = (self.tracker.open(), self.tracker.partitions());
        let full = open >= self.options.buffered;
        let change = match held {
            // Partitions that came meanwhile are paused as well.
            Some(paused) if full && *paused != here => Some(true),
            Some(_) if open <= self.options.buffered / 2 => Some(false),
            None if full => Some(true),
            _ => None,
        };
        let Some(pause) = change else { return };
        let list = list(&self.options.topic, here.iter().map(|partition| (*partition, Offset::Invalid)));
        // Refused only for partitions that are leaving.
        drop(if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) });
        *held = pause.then_some(here);
    }
}

fn join(settings: &BusSettings, options: &ConsumerOptions, tracker: &Arc<Tracker>) -> Result<BaseConsumer<Group>, BusError> {
    let mut config = settings.client();
    config
        .set("group.id", &options.group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        // A process that was killed is missed after the shortest time that brokers allow by default.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        // A record is done when its work says so, not when it was fetched.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("auto.offset.reset", "earliest")
        // What waits in the client's own memory; what waits in ours is counted by `buffered`.
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.wait.max.ms", "250");
    let (words, tracker) = (Words::new("consumer"), Arc::clone(tracker));
    let (topic, handover) = (options.topic.clone(), options.handover);
    let group = Group { words, tracker, topic, handover, member: AtomicBool::new(false), replaced: AtomicBool::new(false) };
    let failed = |source| BusError::Client { client: "consumer", source: Box::new(source) };
    let consumer: BaseConsumer<Group> = config.create_with_context(group).map_err(failed)?;
    consumer.subscribe(&[&options.topic]).map_err(failed)?;
    Ok(consumer)
}

/// Gives the client the offsets that it may commit.
fn store(consumer: &BaseConsumer<Group>, topic: &str, tracker: &Tracker) {
    let moved = tracker.take_moved();
    if !moved.is_empty() {
        let list = list(topic, moved.into_iter().map(|(partition, offset)| (partition, Offset::Offset(offset))));
        if let Err(error) = consumer.store_offsets(&list) {
            tracing::debug!(error = error.to_string(), "offsets not stored");
        }
    }
}

pub(crate) fn list(topic: &str, partitions: impl Iterator<Item = (i32, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        // Refused only for offsets that have no number; these do.
        drop(list.add_partition_offset(topic, partition, offset));
    }
    list
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

fn received(message: &BorrowedMessage<'_>) -> Received {
    let text = |value: Option<&[u8]>| value.and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned);
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Received {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map_or_else(|| message.partition().to_string().into_bytes(), <[u8]>::to_vec),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: headers.filter_map(|header| Some((header.key.to_owned(), text(header.value)?))).collect(),
        attempts: 0,
    }
}
