//! Connections of clients that nobody vouches for: so many at a time, and none that takes its time to say what it wants.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::counter;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

/// Most bytes of a request's head, and of a connection's buffer.
const HEAD: usize = 64 * 1024;
/// Wait after a connection could not be taken: most often there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What clients may do with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Most at a time; one more is answered with 503 and closed.
    pub most: u32,
    /// Longest time from the first moment, or from the answer before, until the head of a request is there; then the connection is closed.
    pub head: Duration,
}

impl Connections {
    /// Serves HTTP/1.1 until `stop`; then takes no connection any more and waits until each has its last answer.
    pub(crate) async fn serve(self, listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
        let (slots, (stopping, stopped)) = (Arc::new(Semaphore::new(self.most as usize)), watch::channel(()));
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => drop(tokio::spawn(self.one((stream, peer), router.clone(), stopped.clone(), slot))),
                    Err(_) => refuse(stream),
                },
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        drop((listener, stopping));
        // Each connection holds a slot until it ends; nobody closes the semaphore.
        drop(slots.acquire_many(self.most).await);
        Ok(())
    }

    async fn one(
        self,
        (stream, peer): (TcpStream, SocketAddr),
        router: Router,
        mut stopped: watch::Receiver<()>,
        slot: OwnedSemaphorePermit,
    ) {
        // Fails for a connection that is gone already.
        drop(stream.set_nodelay(true));
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(Body::new)
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.head).max_buf_size(HEAD);
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // The sender never sends: it ends.
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = crate::words(&error), "a connection broke off");
        }
        drop(slot);
    }
}

/// Says that there is no room, to whoever listens.
fn refuse(mut stream: TcpStream) {
    counter!("http_connections_refused_total").increment(1);
    tokio::spawn(async move {
        // It fits into the socket's buffer, so nobody is waited for.
        drop(stream.write_all(FULL).await);
        drop(stream.shutdown().await);
    });
}
