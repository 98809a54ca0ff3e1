//! How many features a service takes, and how soon their events are on the bus.
//!
//! `create_load [FEATURES [CLIENTS]]` starts a PostgreSQL whose commits wait for the disk, `local-bus` and `feature-service` as they lie
//! beside this program, creates features over connections that are kept, and prints one JSON object. Exit code 1 if a goal is missed.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service_bus::{BusSettings, Publisher, event_topic};
use service_testing::{Postgres, Service, built};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const FEATURES: u32 = 20_000;
const CLIENTS: u32 = 64;
const TOKENS: [(&str, &str); 2] = [
    ("DEK_ACTIVE_ENCRYPTION_TOKEN", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ("DEK_LOOKUP_TOKEN", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="),
];
/// Goals: features a second, and seconds until the outbox is empty after the last one.
const RATE: f64 = 2000.0;
const DRAINED: f64 = 1.0;
/// Longest wait for the outbox.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parts that the service works with, and the service.
struct Platform {
    postgres: Postgres,
    bus: Publisher,
    service: Service,
    _broker: Service,
}

impl Platform {
    fn start() -> io::Result<Self> {
        let postgres = Postgres::start_durable()?;
        let broker = Service::start(built("local-bus")?, &[], &[("BUS_PORT", "0"), ("LOG_LEVEL", "info")])?;
        let brokers = format!("127.0.0.1:{}", broker.port("bus")?);
        let (program, url) = (built("feature-service")?, postgres.url());
        let variables = [&TOKENS[..], &[("DATABASE_URL", &url), ("EVENT_BUS_BROKERS", &brokers), ("LOG_LEVEL", "info")]].concat();
        let mut migration = Service::start(&program, &["--migrate"], &variables)?;
        if !migration.wait()?.success() {
            return Err(io::Error::other(migration.log()));
        }
        let service = Service::start(&program, &[], &variables)?;
        service.wait_for_readiness(200)?;
        let bus = Publisher::new(BusSettings::new(vec![brokers], "create_load"));
        Ok(Self { postgres, bus, service, _broker: broker })
    }

    fn unpublished(&self) -> Result<u32, Failure> {
        Ok(self.postgres.query("SELECT count(*) FROM execution_events WHERE published_at IS NULL")?.parse()?)
    }

    /// Waits until the database says that every event is published and the bus has as many.
    async fn drained(&self, features: u32) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let ends = self.bus.high_watermarks(&event_topic("feature")).await?;
            if ends.values().sum::<i64>() >= i64::from(features) && self.unpublished()? == 0 {
                return Ok(());
            }
        }
        Err(format!("the outbox is not empty after {} s", PATIENCE.as_secs()).into())
    }

    fn cpu_seconds(&self) -> Result<f64, Failure> {
        let metrics = service_testing::get(self.service.port("metrics")?, "/metrics")?.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        Ok(line.ok_or("no process_cpu_seconds_total")?.parse()?)
    }
}

/// One client: a connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Creates a feature and waits for its id.
    async fn create(&mut self, number: u32) -> Result<(), Failure> {
        let body = json!({
            "repository_url": "https://git.example.com/team/shop",
            "instruction": format!("Greet in German too, and in the other languages that the shop is translated to. ({number})"),
            "idempotency_key": format!("load-{number}"),
        });
        let body = body.to_string();
        let length = body.len();
        let head = "POST /feature.feature.v1.FeatureService/Create HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\n";
        self.0.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await?;
        let (status, answer) = self.answer().await?;
        let created = status == "200" && serde_json::from_slice::<Value>(&answer)?["state"] == "PENDING";
        if created { Ok(()) } else { Err(format!("answered {status}: {}", String::from_utf8_lossy(&answer)).into()) }
    }

    async fn answer(&mut self) -> Result<(String, Vec<u8>), Failure> {
        let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            match line.trim_end().split_once([' ', ':']) {
                _ if line == "\r\n" => break,
                Some(("HTTP/1.1", rest)) => rest.get(..3).unwrap_or_default().clone_into(&mut status),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
                Some(_) => {}
                None => return Err("the connection was closed".into()),
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, body))
    }
}

/// Creates features until all are there; returns how long each took.
async fn load(port: u16, clients: u32, features: u32) -> Result<Vec<Duration>, Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (mut client, next) = (Client::connect(port).await?, Arc::clone(&next));
        running.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= features {
                    return Ok::<_, Failure>(took);
                }
                let started = Instant::now();
                client.create(number).await?;
                took.push(started.elapsed());
            }
        });
    }
    let mut took = Vec::new();
    while let Some(client) = running.join_next().await {
        took.extend(client??);
    }
    took.sort_unstable();
    Ok(took)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

// One thread: the clients take as little as they can from what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (features, clients) = (arguments.next().transpose()?.unwrap_or(FEATURES), arguments.next().transpose()?.unwrap_or(CLIENTS));
    let platform = Platform::start()?;
    let (port, cpu) = (platform.service.port("http")?, platform.cpu_seconds()?);
    let started = Instant::now();
    let took = load(port, clients, features).await?;
    let (loaded, left) = (started.elapsed(), platform.unpublished()?);
    platform.drained(features).await?;
    let drained = started.elapsed().saturating_sub(loaded).as_secs_f64();
    let rate = f64::from(features) / loaded.as_secs_f64();
    let quantile = |of_hundred: usize| took.get(took.len() * of_hundred / 100).map_or(0.0, |took| round(took.as_secs_f64() * 1000.0));
    let printed = json!({
        "creates": took.len(),
        "clients": clients,
        "seconds": round(loaded.as_secs_f64()),
        "per_second": rate.round(),
        "p50_ms": quantile(50),
        "p99_ms": quantile(99),
        "outbox_left_at_the_end": left,
        "outbox_drained_seconds": round(drained),
        "service_cpu_ms_each": round((platform.cpu_seconds()? - cpu) * 1000.0 / f64::from(features)),
    });
    io::Write::write_fmt(&mut io::stdout(), format_args!("{printed}\n"))?;
    Ok(if rate >= RATE && drained <= DRAINED { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
