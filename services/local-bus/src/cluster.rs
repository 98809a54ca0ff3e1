//! librdkafka's in-process cluster, on a thread that owns it.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use thiserror::Error;
use tokio::sync::oneshot;

/// What a partition may hold, in MiB; fixed in librdkafka.
pub(crate) const PARTITION_MIB: u32 = 5;

#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    #[error("failed to start the cluster")]
    Start(#[source] KafkaError),
    #[error("failed to make topic `{topic}` with {partitions} partitions")]
    Topic {
        topic: String,
        partitions: u32,
        #[source]
        source: KafkaError,
    },
    #[error("the cluster tells no address of its own: {0:?}")]
    Address(String),
    #[error("the cluster's thread ended unexpectedly")]
    Ended,
}

/// A cluster of one broker; it ends when this is dropped.
pub(crate) struct Cluster {
    broker: SocketAddr,
    _end: Sender<()>,
}

impl Cluster {
    /// Starts the cluster on loopback ports of its own choice, with its topics.
    pub(crate) async fn start(topics: Vec<(String, u32)>) -> Result<Self, ClusterError> {
        let ((end, ended), (started, result)) = (channel(), oneshot::channel());
        std::thread::spawn(move || own(&topics, started, &ended));
        let broker = result.await.map_err(|_| ClusterError::Ended)??;
        Ok(Self { broker, _end: end })
    }

    /// Returns where the broker listens.
    pub(crate) fn broker(&self) -> SocketAddr {
        self.broker
    }
}

/// Holds the cluster until the other end of `ended` is gone.
fn own(topics: &[(String, u32)], started: oneshot::Sender<Result<SocketAddr, ClusterError>>, ended: &Receiver<()>) {
    let made = make(topics);
    let (cluster, result) = match made {
        Ok((cluster, broker)) => (Some(cluster), Ok(broker)),
        Err(error) => (None, Err(error)),
    };
    // Nobody waits any more if the start was cut off; then the other end is gone as well.
    drop(started.send(result));
    if cluster.is_some() {
        // Fails when the other end is dropped: nothing is ever sent.
        ended.recv().ok();
    }
}

type Made = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn make(topics: &[(String, u32)]) -> Result<(Made, SocketAddr), ClusterError> {
    let cluster = MockCluster::new(1).map_err(ClusterError::Start)?;
    for (topic, partitions) in topics {
        let count = i32::try_from(*partitions).unwrap_or(i32::MAX);
        let failed = |source| ClusterError::Topic { topic: topic.clone(), partitions: *partitions, source };
        cluster.create_topic(topic, count, 1).map_err(failed)?;
    }
    let address = cluster.bootstrap_servers();
    let broker = address.parse().map_err(|_| ClusterError::Address(address))?;
    Ok((cluster, broker))
}
