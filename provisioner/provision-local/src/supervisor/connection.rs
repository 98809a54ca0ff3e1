//! One connection of a client.

use std::io;
use std::sync::mpsc::SendError;
use std::time::Duration;

use provision_apply::ClusterError;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::fetch::fetch;
use super::room::hello;
use super::turns::{Answer, Order, Orders};
use crate::kubelet::{Kubelet, KubeletError};
use crate::protocol::{Ask, Envelope, LONGEST_REQUEST, Reply, Told, VERSION, WireAnswer, read_line, write_line};
use crate::socket;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all connections share.
pub(super) struct Shared<K> {
    pub(super) orders: Orders,
    pub(super) kubelet: std::sync::Arc<K>,
    pub(super) build: u64,
    /// Told when the supervisor is to end.
    pub(super) end: Notify,
    pub(super) places: Semaphore,
}

/// Serves a client until it goes.
pub(super) async fn serve<K: Kubelet>(shared: std::sync::Arc<Shared<K>>, stream: UnixStream) {
    if !socket::is_ours(&stream) {
        tracing::warn!("a client of another user was turned away");
        return;
    }
    let Ok(_place) = shared.places.acquire().await else { return };
    let (read, mut write) = stream.into_split();
    if let Err(error) = converse(&shared, BufReader::new(read), &mut write).await {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn converse<K: Kubelet>(shared: &Shared<K>, mut read: BufReader<OwnedReadHalf>, write: &mut OwnedWriteHalf) -> io::Result<()> {
    loop {
        let line = tokio::time::timeout(PATIENCE, read_line::<Envelope>(&mut read, LONGEST_REQUEST));
        let envelope = match line.await {
            Err(_) | Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(envelope))) => envelope,
            Ok(Err(error)) => return write_line(write, &refusal(error.to_string())).await,
        };
        if envelope.protocol != VERSION {
            let message = format!("the supervisor speaks version {VERSION} of the protocol, not {}", envelope.protocol);
            return write_line(write, &refusal(message)).await;
        }
        match envelope.ask {
            Ask::HandOver => {
                write_line(write, &Reply::Ok(Value::Null)).await?;
                shared.end.notify_one();
                return Ok(());
            }
            Ask::Watch { resource, namespace } => {
                let opened = order(shared, |answer| Order::Watch(resource, namespace, answer)).await;
                return match opened {
                    Ok(events) => pass_on(events, read, write).await,
                    Err(error) => write_line(write, &Reply::Error(error.into())).await,
                };
            }
            ask => {
                let reply = match answer(shared, ask).await {
                    Ok(value) => Reply::Ok(value),
                    Err(error) => Reply::Error(error.into()),
                };
                write_line(write, &reply).await?;
            }
        }
    }
}

fn refusal(message: String) -> Reply {
    Reply::Error(ClusterError::Other { message, source: None }.into())
}

async fn answer<K: Kubelet>(shared: &Shared<K>, ask: Ask) -> Result<Value, ClusterError> {
    match ask {
        Ask::Hello => Ok(hello(shared.build)),
        Ask::Notices => Ok(Value::from(shared.kubelet.notices())),
        Ask::Logs { pod, container, previous, lines } => {
            let uid = order(shared, |answer| Order::Uid(pod.clone(), answer)).await?;
            let read = shared.kubelet.logs(&uid, &container, previous, lines).await;
            let lines = read.map_err(|error| match error {
                KubeletError::NoLog { .. } => ClusterError::NotFound { subject: format!("a log of container {container} of {pod}") },
                error @ (KubeletError::Read { .. } | KubeletError::Discard { .. }) => {
                    ClusterError::Other { message: error.to_string(), source: Some(error.into()) }
                }
            })?;
            Ok(Value::from(lines))
        }
        Ask::Through { service, port, path } => {
            let target = order(shared, |answer| Order::Target(service.clone(), port, answer)).await?;
            let (status, body) = fetch(target, &path).await.map_err(|error| ClusterError::Server {
                subject: service.to_string(),
                status: 502,
                message: format!("{target} does not answer: {error}"),
            })?;
            serde_json::to_value(WireAnswer { status, body })
                .map_err(|source| ClusterError::Other { message: "the answer can't be written".to_owned(), source: Some(source.into()) })
        }
        ask => order(shared, |answer| Order::Ask(ask, answer)).await,
    }
}

/// Tells whether nothing is to run.
pub(super) async fn is_at_rest<K: Kubelet>(shared: &Shared<K>) -> bool {
    order(shared, Order::IsAtRest).await.unwrap_or(false)
}

/// Gives an order to the room and waits for what comes of it.
async fn order<K, T>(shared: &Shared<K>, build: impl FnOnce(Answer<T>) -> Order) -> Result<T, ClusterError> {
    let (sender, receiver) = oneshot::channel();
    let ends = || ClusterError::Server { subject: "the objects".to_owned(), status: 503, message: "the supervisor ends".to_owned() };
    shared.orders.send(build(sender)).map_err(|SendError(_)| ends())?;
    receiver.await.map_err(|_| ends())?
}

/// Passes events on until the client goes or lags too far behind.
async fn pass_on(mut events: mpsc::Receiver<Told>, mut read: BufReader<OwnedReadHalf>, write: &mut OwnedWriteHalf) -> io::Result<()> {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(told) => {
                    let value = serde_json::to_value(told)?;
                    write_line(write, &Reply::Ok(value)).await?;
                }
                None => return Ok(()),
            },
            // A client that watches says nothing more; what it says ends the watch, as its end does.
            _ = read.fill_buf() => return Ok(()),
        }
    }
}
