//! A running service: ports, signals and the drain.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout, timeout_at};

use crate::connections::Connections;
use crate::health::Readiness;
use crate::http::{metrics_router, service_router};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::program::{App, BoxError, BoxFuture, Common, Surface, Task};
use crate::trace::Traces;

/// How often readiness is looked at when nobody asks, for the log and the metrics.
const MONITOR_PERIOD: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
enum ServeError {
    #[error("failed to listen on {address} ({variable})")]
    Listen {
        address: SocketAddr,
        variable: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to take signals")]
    Signals(#[source] std::io::Error),
    #[error("`{0}` ended before the service was told to stop")]
    Ended(&'static str),
    #[error("`{0}` panicked")]
    Panicked(&'static str),
    #[error("`{name}` failed")]
    Failed {
        name: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("work was cut off {0} s after the signal (SHUTDOWN_GRACE_SECONDS)")]
    Deadline(u64),
    #[error("a second signal cut the work off")]
    SecondSignal,
    #[error("stopped by {0}")]
    Stopped(&'static str),
}

/// Opens the ports, serves until a signal or a failure, and drains.
pub(crate) async fn serve<F>(
    name: &'static str,
    version: &'static str,
    common: &Common,
    traces: Traces,
    start: impl FnOnce(Lifecycle) -> F,
) -> Result<(), BoxError>
where
    F: Future<Output = Result<App, BoxError>>,
{
    let mut signals = Signals::new()?;
    let lifecycle = Lifecycle::default();
    let metrics = Metrics::start(name, version);
    let app = tokio::select! {
        app = start(lifecycle.clone()) => app?,
        signal = signals.next() => return Err(ServeError::Stopped(signal).into()),
    };
    let readiness = Readiness::new(app.checks, lifecycle.clone());
    let mut work = Work::default();
    if common.surface == Surface::Http {
        let router = service_router(app.routes, readiness.clone());
        let listener = listen(common.http, "HTTP_PORT").await?;
        work.spawn(http_task("http", listener, (router, app.connections), lifecycle.stopping())?);
    }
    for task in app.tasks {
        work.spawn(task);
    }
    // On its own: it must answer until the rest has ended.
    let metrics_end = Lifecycle::default();
    let router = metrics_router(readiness.clone(), metrics.clone());
    let mut metrics_work = Work::default();
    metrics_work.spawn(http_task("metrics", listen(common.metrics, "METRICS_PORT").await?, (router, None), metrics_end.stopping())?);
    let monitor = tokio::spawn(monitor(readiness, metrics));
    tracing::info!(service = name, version, "started");

    let failure = tokio::select! {
        signal = signals.next() => { tracing::info!(signal, "asked to stop"); None }
        ended = work.ended_early() => Some(ended),
        ended = metrics_work.ended_early() => Some(ended),
    };
    let deadline = Instant::now() + common.grace;
    let drained = tokio::select! {
        drained = drain(&lifecycle, &mut work, common, (failure.is_none(), deadline)) => drained,
        _ = signals.next() => Err(ServeError::SecondSignal),
    };
    monitor.abort();
    traces.finish(deadline.saturating_duration_since(Instant::now())).await;
    metrics_end.stop();
    // Only answers that are being written are waited for.
    drop(timeout(Duration::from_millis(500), metrics_work.finish()).await);
    failure.map_or(Ok(()), Err)?;
    drained?;
    tracing::info!("stopped");
    Ok(())
}

/// Runs `work` to its end, or drops it at the first signal: as a container's first process it would not be stopped otherwise.
pub(crate) async fn until_signal<T>(work: BoxFuture<Result<T, BoxError>>) -> Result<T, BoxError> {
    let mut signals = Signals::new()?;
    tokio::select! {
        result = work => result,
        signal = signals.next() => Err(ServeError::Stopped(signal).into()),
    }
}

/// Sends clients elsewhere, then takes no new work, then waits for what runs; all within the grace period.
async fn drain(lifecycle: &Lifecycle, work: &mut Work, common: &Common, (gently, deadline): (bool, Instant)) -> Result<(), ServeError> {
    lifecycle.drain();
    if gently {
        // At most half of the time: the other half belongs to the work.
        sleep(common.lame_duck.min(common.grace / 2)).await;
    }
    lifecycle.stop();
    match timeout_at(deadline, work.finish()).await {
        Ok(finished) => finished,
        Err(_) => Err(ServeError::Deadline(common.grace.as_secs())),
    }
}

/// Looks at readiness now and then, so that log and metrics tell of it although nobody asks.
async fn monitor(readiness: Readiness, metrics: Metrics) {
    let mut period = tokio::time::interval(MONITOR_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        readiness.report().await;
        metrics.tidy();
    }
}

/// Opens a port that a service serves by itself.
///
/// # Errors
/// Names the address and `variable`, which sets it, if it is taken or not to be had.
pub async fn listen(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BoxError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, variable, source }.into())
}

fn http_task(
    name: &'static str,
    listener: TcpListener,
    (router, connections): (Router, Option<Connections>),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Task, BoxError> {
    let address = listener.local_addr()?;
    tracing::info!(server = name, address = %address, port = address.port(), "listening");
    if let Some(connections) = connections {
        return Ok(Task::new(name, async move { connections.serve(listener, router, stop).await.map_err(BoxError::from) }));
    }
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(stop);
    Ok(Task::new(name, async move { server.await.map_err(BoxError::from) }))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        let open = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self { terminate: open(SignalKind::terminate())?, interrupt: open(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The tasks of a service.
#[derive(Default)]
struct Work {
    tasks: JoinSet<(&'static str, Result<(), ServeError>)>,
}

impl Work {
    fn spawn(&mut self, task: Task) {
        let name = task.name;
        let running = tokio::spawn(task.work);
        self.tasks.spawn(async move {
            let result = match running.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(source)) => Err(ServeError::Failed { name, source }),
                Err(_) => Err(ServeError::Panicked(name)),
            };
            (name, result)
        });
    }

    /// Waits for a task that ends although nothing told it to; never returns if there is no task.
    async fn ended_early(&mut self) -> ServeError {
        match self.tasks.join_next().await {
            Some(Ok((name, result))) => result.err().unwrap_or(ServeError::Ended(name)),
            // The wrapper neither panics nor is it aborted; and without tasks there is nothing to wait for.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Waits for all tasks; returns the first failure.
    async fn finish(&mut self) -> Result<(), ServeError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            outcome = outcome.and(ended.map_or(Ok(()), |(_, result)| result));
        }
        outcome
    }
}
