//! The thread that owns the room: orders in the order in which they come, and the controllers after them.

use std::io;
use std::net::SocketAddrV4;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use jiff::Timestamp;
use provision_apply::ClusterError;
use provision_model::{ApiResource, ResourceId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::room::Room;
use crate::kubelet::{Claim, Report};
use crate::protocol::{Ask, Told};
use crate::store::Disk;

/// Orders that are carried out before the controllers have their turn.
const BATCH: usize = 64;
/// Longest wait without looking at the clock, which may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where orders go.
pub(super) type Orders = Sender<Order>;

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, ClusterError>>;

/// What the room is asked for.
pub(super) enum Order {
    /// A request about objects.
    Ask(Ask, Answer<Value>),
    /// A watch.
    Watch(ApiResource, Option<String>, Answer<tokio::sync::mpsc::Receiver<Told>>),
    /// The UID of a pod.
    Uid(ResourceId, Answer<String>),
    /// Where a ready pod serves a port of a Service.
    Target(ResourceId, String, Answer<SocketAddrV4>),
    /// Whether nothing is to run, now or later.
    IsAtRest(Answer<bool>),
    /// Something that the runtime says.
    Report(Report),
    /// The folder of a claim is gone.
    Discarded(Claim),
}

/// Starts the thread. The receiver is told when it has ended, which it does only when no order can come any more, or by a panic.
pub(super) fn start<D: Disk>(mut room: Room<D>) -> io::Result<(Orders, oneshot::Receiver<()>)> {
    let (orders, incoming) = mpsc::channel();
    let (alive, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name("objects".to_owned()).spawn(move || {
        let _alive = alive;
        run(&mut room, &incoming);
    })?;
    Ok((orders, ended))
}

fn run<D: Disk>(room: &mut Room<D>, incoming: &Receiver<Order>) {
    room.settle(Timestamp::now());
    loop {
        let wait = room.next_alarm().map(|alarm| alarm.duration_since(Timestamp::now()));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default().min(LONGEST_WAIT);
        match incoming.recv_timeout(wait.max(Duration::from_millis(10))) {
            Ok(order) => {
                carry_out(room, order);
                incoming.try_iter().take(BATCH).for_each(|order| carry_out(room, order));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        room.settle(Timestamp::now());
    }
}

/// Answers before the controllers work: they only need what is durable by then.
fn carry_out<D: Disk>(room: &mut Room<D>, order: Order) {
    let now = Timestamp::now();
    // Whoever asked may have gone; what was asked for is done all the same.
    match order {
        Order::Ask(ask, answer) => drop(answer.send(room.answer(now, &ask))),
        Order::Watch(resource, namespace, answer) => drop(answer.send(room.open_watch(&resource, namespace.as_deref()))),
        Order::Uid(pod, answer) => {
            let uid = room.uid_of(&pod).ok_or_else(|| ClusterError::NotFound { subject: pod.to_string() });
            drop(answer.send(uid));
        }
        Order::Target(service, port, answer) => drop(answer.send(room.target(&service, &port))),
        Order::IsAtRest(answer) => drop(answer.send(Ok(room.is_at_rest()))),
        Order::Report(report) => room.note(now, report),
        Order::Discarded(claim) => room.note_discarded(now, &claim),
    }
}
