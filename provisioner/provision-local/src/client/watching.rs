//! A watch that goes on until it is dropped.

use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::unfold;
use provision_apply::{ClusterError, WatchEvent, Watching};
use provision_model::ApiResource;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::LocalCluster;
use crate::protocol::{Ask, LONGEST_ANSWER, Reply, Told, read_line};

/// Wait before a watch that broke off is opened again.
const PAUSE: Duration = Duration::from_millis(500);

enum State {
    /// Nothing is open; whether this is a new beginning after something went wrong.
    Closed { again: bool },
    /// Events come.
    Open(BufReader<UnixStream>),
}

/// Watches a kind.
pub(super) fn watch(cluster: LocalCluster, resource: ApiResource, namespace: Option<String>) -> Watching {
    let step = move |state: State| {
        let (cluster, resource, namespace) = (cluster.clone(), resource.clone(), namespace.clone());
        async move {
            match state {
                State::Closed { again } => {
                    if again {
                        tokio::time::sleep(PAUSE).await;
                    }
                    let ask = || Ask::Watch { resource: resource.clone(), namespace: namespace.clone() };
                    Some(match cluster.reach(ask).await {
                        Ok(stream) if again => (Some(Ok(WatchEvent::Restarted)), State::Open(stream)),
                        Ok(stream) => (None, State::Open(stream)),
                        Err(error) => (Some(Err(error)), State::Closed { again: true }),
                    })
                }
                State::Open(mut stream) => Some(match next(&cluster, &mut stream).await {
                    Ok(event) => (Some(Ok(event)), State::Open(stream)),
                    Err(error) => (Some(Err(error)), State::Closed { again: true }),
                }),
            }
        }
    };
    unfold(State::Closed { again: false }, step).filter_map(std::future::ready).boxed()
}

async fn next(cluster: &LocalCluster, stream: &mut BufReader<UnixStream>) -> Result<WatchEvent, ClusterError> {
    match read_line(stream, LONGEST_ANSWER).await {
        Ok(Some(Reply::Ok(value))) => {
            let told: Result<Told, _> = serde_json::from_value(value);
            told.map(WatchEvent::from).map_err(|error| cluster.unreachable(error))
        }
        Ok(Some(Reply::Error(error))) => Err(error.into()),
        Ok(None) => Err(cluster.unreachable(io::Error::from(io::ErrorKind::UnexpectedEof))),
        Err(error) => Err(cluster.unreachable(error)),
    }
}
