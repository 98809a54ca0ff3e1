//! Asks containers how they are, as a cluster does: HTTP, TCP, gRPC health, commands; thresholds and periods.

mod beside;
mod counter;
mod grpc;
mod http;
mod times;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub(crate) use self::beside::Beside;
use self::counter::Counter;
use self::times::{Pace, Times};
use crate::keeper::HealthRecord;
use crate::kubelet::{Check, Probe, WantedContainer};

/// Longest part of an answer that is repeated.
const SHOWN: usize = 1024;

/// Asks one container.
pub(crate) struct Asker {
    /// Address of its pod.
    pub(crate) address: Ipv4Addr,
    /// Runs commands beside its program.
    pub(crate) beside: Beside,
}

impl Asker {
    /// Asks once.
    ///
    /// # Errors
    /// What went wrong, as a cluster says it.
    pub(crate) async fn ask(&self, check: &Check, limit: Duration) -> Result<(), String> {
        let at = |port: u16| SocketAddrV4::new(self.address, port);
        let answer = match check {
            Check::Http { tls: true, .. } => Err("probes over TLS are not supported on one machine".to_owned()),
            Check::Http { port, path, headers, tls: false } => http::get(at(*port), path, headers, limit).await,
            Check::Tcp { port } => match timeout(limit, TcpStream::connect(at(*port))).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(dial(at(*port), &error)),
                Err(_) => Err(format!("dial tcp {}: i/o timeout", at(*port))),
            },
            Check::Grpc { port, service } => grpc::check(at(*port), service, limit).await,
            Check::Exec { command } => self.beside.run(command, limit).await,
        };
        answer.map_err(|message| message.chars().take(SHOWN).collect())
    }
}

/// Says that a connection failed.
fn dial(address: SocketAddrV4, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {address}: connect: connection refused"),
        _ => format!("dial tcp {address}: {error}"),
    }
}

/// News of a probe.
pub(crate) enum Verdict<'v> {
    /// How the container is now.
    Health(HealthRecord),
    /// One question was answered badly.
    Bad {
        /// Which probe: `startup`, `readiness`, `liveness`.
        probe: &'static str,
        /// What went wrong.
        message: &'v str,
    },
}

/// Asks a running container until it must be ended, and returns which probe says so.
///
/// A container that is not ready is asked more often than its probes say, so that a start takes as long as the programs need; only one bad
/// answer in each period counts, so it is given up no sooner.
///
/// `known` is what is known of this run already; `heard` is told all news, the beginning included.
pub(crate) async fn watch_probes(
    container: &WantedContainer,
    asker: &Asker,
    known: HealthRecord,
    heard: &(dyn Fn(Verdict<'_>) + Sync),
) -> &'static str {
    let bad = |probe: &'static str| move |message: &str| heard(Verdict::Bad { probe, message });
    let mut health = known;
    if let Some(probe) = container.startup.as_ref().filter(|_| !known.started) {
        heard(Verdict::Health(health));
        let mut counter = Counter::new(probe, None);
        if !watch(probe, asker, &mut counter, Pace::Eager, &bad("startup")).await {
            return "startup";
        }
    }
    health.started = true;
    health.ready = known.ready || container.readiness.is_none();
    heard(Verdict::Health(health));
    let readiness = async {
        let Some(probe) = &container.readiness else { return std::future::pending().await };
        let mut counter = Counter::new(probe, Some(health.ready));
        loop {
            let pace = if health.ready { Pace::Steady } else { Pace::Eager };
            health.ready = watch(probe, asker, &mut counter, pace, &bad("readiness")).await;
            heard(Verdict::Health(health));
        }
    };
    let liveness = async {
        let Some(probe) = &container.liveness else { return std::future::pending().await };
        let mut counter = Counter::new(probe, Some(true));
        // It only turns to bad: it began as good.
        watch(probe, asker, &mut counter, Pace::Steady, &bad("liveness")).await
    };
    tokio::select! {
        () = readiness => "readiness",
        _ = liveness => "liveness",
    }
}

/// Asks until the verdict turns, and returns the new one. The first question of a container comes after the initial delay.
async fn watch(probe: &Probe, asker: &Asker, counter: &mut Counter, pace: Pace, bad: &(dyn Fn(&str) + Sync)) -> bool {
    let mut times = Times::new(probe, pace);
    sleep(if counter.take_first() { probe.initial_delay } else { probe.period }).await;
    loop {
        let asked = Instant::now();
        let answer = asker.ask(&probe.check, probe.timeout).await;
        let is_due = times.is_due(asked);
        if let (true, Err(message)) = (is_due, &answer) {
            bad(message);
        }
        // One good answer is enough whenever it comes; several are to lie a period apart.
        let counts = is_due || answer.is_ok() && probe.success_threshold <= 1;
        if counts && let Some(verdict) = counter.count(answer.is_ok()) {
            return verdict;
        }
        sleep_until(times.next(asked)).await;
    }
}
