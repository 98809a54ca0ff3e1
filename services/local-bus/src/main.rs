//! local-bus: the event bus of one machine, librdkafka's in-process cluster behind one known port.
//!
//! It speaks the Kafka protocol as far as producers and consumer groups need it. Nothing outlives it: those who use it publish anew
//! what they need when it comes back empty.

mod cluster;
mod forward;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use service_bus::{dead_letter_topic, event_topic};
use service_kit::variables::{BIND_ADDRESS, EVENT_BUS_PARTITION_COUNT, EVENT_BUS_TOPIC_PREFIX, PORT};
use service_kit::{App, BoxError, Check, Lifecycle, Program, Settings, Surface, Task, Variable, listen};

use cluster::{Cluster, PARTITION_MIB};

const ABOUT: &str = "serves the event bus of one machine, in memory";

const BUS_PORT: Variable<u16> = Variable::new("BUS_PORT", &PORT, "port of the Kafka protocol").or("9092");

struct Config {
    address: SocketAddr,
    topics: Vec<(String, u32)>,
}

fn read(settings: &mut Settings) -> Config {
    let address = settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let prefix = settings.required(&EVENT_BUS_TOPIC_PREFIX);
    let topics = vec![(event_topic(&prefix), settings.required(&EVENT_BUS_PARTITION_COUNT)), (dead_letter_topic(&prefix), 1)];
    Config { address: SocketAddr::new(address, settings.required(&BUS_PORT)), topics }
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let listener = listen(config.address, BUS_PORT.name).await?;
    let cluster = Cluster::start(config.topics.clone()).await?;
    let partitions: u32 = config.topics.iter().map(|(_, partitions)| partitions).sum();
    tracing::warn!(
        at_most_mib = partitions.saturating_mul(PARTITION_MIB),
        "this bus is in memory: nothing outlives it, no topic but its own can be made or configured, whoever reaches it may use it, and \
         a partition holds {PARTITION_MIB} MiB or 100000 records, the newest"
    );
    for (topic, partitions) in &config.topics {
        tracing::info!(topic, partitions, "topic made");
    }
    let broker = cluster.broker();
    let address = listener.local_addr()?;
    tracing::info!(server = "bus", %address, port = address.port(), %broker, "listening");
    let answers = Check::new("broker", move || async move {
        let connected = tokio::net::TcpStream::connect(broker).await;
        connected.map(drop).map_err(|error| format!("no connection to {broker}: {}", error.kind()))
    });
    let work = forward::forward(listener, broker, lifecycle, cluster);
    Ok(App { checks: vec![answers], tasks: vec![Task::new("bus", work)], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
