//! local-kafka: a Kafka broker as a part of an environment on one machine.
//!
//! It prepares the folder of the log at the first start, keeps Java with Kafka's jars running as its child (one node that is broker and
//! controller), sees to it that the platform's topics are there, and turns the broker's words into lines of its own. It ends with the broker.
//!
//! ```text
//! KAFKA_DATA/lock               held while a program of this kind serves the folder
//! KAFKA_DATA/data               the broker's log
//! KAFKA_DATA/data.new           one that is being prepared; what a crash left of it is removed at the start
//! KAFKA_DATA/server.properties  the broker's settings, written at each start
//! KAFKA_DATA/tmp                libraries that Java unpacks
//! ```
//!
//! On SIGTERM clients have `SHUTDOWN_LAME_DUCK_SECONDS` more, then the broker closes its log. If this program is killed, the kernel kills the
//! broker with it; what it acknowledged is in its files, and the next start recovers it.

mod broker;
mod folder;
mod installed;
mod log;
mod settings;
mod supervise;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use service_bus::{Topic, dead_letter_topic, event_topic};
use service_kit::variables::{BIND_ADDRESS, COUNT, EVENT_BUS_PARTITION_COUNT, EVENT_BUS_TOPIC_PREFIX, PATH, TEXT};
use service_kit::{App, BoxError, Check, Kind, Lifecycle, Program, Settings, Surface, Task, Variable};

use crate::settings::Listen;
use crate::supervise::{Supervisor, prepare};

const ABOUT: &str = "runs a Kafka broker in a folder, for one machine";

const SERVER_PORT: Kind<u16> = Kind { expected: "a port number from 1 to 65535", parse: |text| text.parse().ok().filter(|port| *port > 0) };

const KAFKA_DATA: Variable<String> = Variable::new("KAFKA_DATA", &PATH, "folder of the log").or("/var/lib/kafka");
const KAFKA_PORT: Variable<u16> = Variable::new("KAFKA_PORT", &SERVER_PORT, "port of the broker").or("9092");
const KAFKA_CONTROLLER_PORT: Variable<u16> =
    Variable::new("KAFKA_CONTROLLER_PORT", &SERVER_PORT, "port of the broker's controller").or("9093");
const KAFKA_HEAP_MB: Variable<u32> = Variable::new("KAFKA_HEAP_MB", &COUNT, "most memory of Java's heap, in MiB").or("384");
const KAFKA_JARS: Variable<String> = Variable::new(
    "KAFKA_JARS",
    &PATH,
    "folder of Kafka's jars; the places where tests/kafka.sh puts them if not set: /usr/local/share/provision, and .local/share/provision of the user's home",
);
const SEARCH_PATH: Variable<String> = Variable::new("PATH", &TEXT, "folders that are searched for Java");

/// What this program is configured with.
#[derive(Clone)]
struct Config {
    data: PathBuf,
    listen: Listen,
    heap: u32,
    topics: Vec<Topic>,
    /// Where Kafka's jars are, if not where they are put by default.
    jars: Option<PathBuf>,
    search_path: String,
}

fn read(settings: &mut Settings) -> Config {
    let prefix = settings.required(&EVENT_BUS_TOPIC_PREFIX);
    let partitions = settings.required(&EVENT_BUS_PARTITION_COUNT);
    let topic = |name, partitions| Topic { name, partitions, replication: None };
    Config {
        data: settings.required(&KAFKA_DATA).into(),
        listen: Listen {
            address: settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: settings.required(&KAFKA_PORT),
            controller_port: settings.required(&KAFKA_CONTROLLER_PORT),
        },
        heap: settings.required(&KAFKA_HEAP_MB),
        topics: vec![topic(event_topic(&prefix), partitions), topic(dead_letter_topic(&prefix), 1)],
        jars: settings.optional(&KAFKA_JARS).map(PathBuf::from),
        search_path: settings.optional(&SEARCH_PATH).unwrap_or_default(),
    }
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let supervisor = Arc::new(Supervisor::new(prepare(config)?));
    let checked = Arc::clone(&supervisor);
    let check = Check::new("kafka", move || {
        let supervisor = Arc::clone(&checked);
        async move { supervisor.answers().await }
    });
    let run = async move { supervisor.run(lifecycle).await.map_err(BoxError::from) };
    Ok(App { checks: vec![check], tasks: vec![Task::new("kafka", run)], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
