//! Streams of events: server-sent events, the id of each the place from which a stream that broke off goes on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse;
use feature_store::{Store, StoreError, StoredEvent, is_final};
use service_kit::Lifecycle;
use service_kit::rpc::RpcError;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::failure::rpc_error;
use crate::news::{News, Overlap, Subscription};
use crate::request::Watched;

/// Events on their way to one client; a client that reads slower than they come falls behind in the news, not here.
const BUFFER: usize = 64;
/// Events that are read at once.
const PAGE: u32 = 500;

/// What a stream needs.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) store: Store,
    pub(crate) news: News,
    pub(crate) lifecycle: Lifecycle,
    /// How often a watcher of one feature looks by itself.
    pub(crate) heartbeat: Duration,
}

type Item = Result<sse::Event, Infallible>;

/// Why a stream ends; the client comes back with the last id, but for `Done`.
enum End {
    Done,
    Gone,
    Behind,
    Store(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Watch {
    /// Begins a stream: what is there already, then what happens.
    pub(crate) async fn start(self, watched: Watched) -> Result<ReceiverStream<Item>, RpcError> {
        let subscription = self.news.subscribe().await.map_err(|error| rpc_error(&error))?;
        if let Watched::One(feature, _) = watched {
            self.store.state(feature).await.map_err(|error| rpc_error(&error))?;
        }
        let (client, stream) = mpsc::channel(BUFFER);
        tokio::spawn(async move {
            let stopping = self.lifecycle.draining();
            let follow = async {
                match watched {
                    Watched::One(feature, after) => self.one(&client, subscription, feature, after).await,
                    Watched::All(after) => self.all(&client, subscription, after).await,
                }
            };
            tokio::select! {
                end = follow => if let Err(End::Store(error)) = end {
                    tracing::warn!(error = service_kit::words(&error), "a stream of events broke off");
                },
                // A client that went away while nothing happens.
                () = client.closed() => {}
                // The client goes on elsewhere.
                () = stopping => {}
            }
        });
        Ok(ReceiverStream::new(stream))
    }

    async fn one(&self, client: &mpsc::Sender<Item>, mut news: Subscription, feature: Uuid, after: i32) -> Result<(), End> {
        let mut next = after.saturating_add(1);
        loop {
            // Before the events: of a feature that has ended by now they are all there.
            let mut ended = is_final(self.store.state(feature).await?);
            for event in self.store.events(feature, next).await? {
                send(client, &event, i64::from(event.event.sequence)).await?;
                next = event.event.sequence + 1;
                ended |= is_final(event.state());
            }
            if ended {
                return Err(End::Done);
            }
            // News only say when to look: the feature's own order is that of its sequences.
            let looks = tokio::time::sleep(self.heartbeat);
            tokio::pin!(looks);
            loop {
                let told = tokio::select! {
                    told = news.events.recv() => told,
                    () = &mut looks => break,
                };
                match told {
                    Ok(event) if event.feature != feature || event.event.sequence < next => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(End::Gone),
                }
            }
        }
    }

    async fn all(&self, client: &mpsc::Sender<Item>, mut news: Subscription, after: Option<i64>) -> Result<(), End> {
        let mut told = Overlap::default();
        let mut position = after.unwrap_or(news.from);
        while position < news.from {
            let page = self.store.events_after(position, &[], PAGE).await?;
            let Some(last) = page.last() else { break };
            position = last.position;
            for event in &page {
                told.remember(event.position, news.from);
                send(client, event, event.position).await?;
            }
        }
        loop {
            let event: Arc<StoredEvent> = match news.events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => return Err(End::Behind),
                Err(RecvError::Closed) => return Err(End::Gone),
            };
            if !told.holds(event.position) {
                send(client, &event, event.position).await?;
            }
        }
    }
}

async fn send(client: &mpsc::Sender<Item>, event: &StoredEvent, id: i64) -> Result<(), End> {
    let item = sse::Event::default().id(id.to_string()).json_data(&event.event);
    // An event is always JSON.
    let item = item.unwrap_or_default();
    client.send(Ok(item)).await.map_err(|_| End::Gone)
}
