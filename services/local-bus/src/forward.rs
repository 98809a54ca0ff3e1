//! The known port: whoever connects to it reaches the broker, which then tells where it really listens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use service_kit::{BoxError, Lifecycle};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::Cluster;

/// Wait after a connection could not be taken: most often there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Passes connections on until the service stops; the cluster ends with it.
pub(crate) async fn forward(listener: TcpListener, broker: SocketAddr, lifecycle: Lifecycle, cluster: Cluster) -> Result<(), BoxError> {
    let stopping = lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((client, _)) => drop(tokio::spawn(pass(client, broker))),
            Err(error) => {
                tracing::warn!(error = error.to_string(), "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(cluster);
    Ok(())
}

async fn pass(mut client: TcpStream, broker: SocketAddr) {
    let passed: io::Result<_> = async {
        let mut server = TcpStream::connect(broker).await?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    }
    .await;
    if let Err(error) = passed {
        tracing::debug!(error = error.to_string(), "a connection broke");
    }
}
