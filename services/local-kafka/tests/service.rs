//! The program as it runs: a real broker, whose log outlives it. Needs `tests/kafka.sh`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_bus::{BusSettings, Publisher, Record};
use service_testing::{Service, eventually};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-kafka");
const TOPIC: &str = "feature.events";
/// Longest time for a start on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder for a broker, and its ports.
struct Place {
    folder: TempDir,
    port: u16,
    controller_port: u16,
}

impl Place {
    fn new() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder: tempfile::Builder::new().prefix("local kafka=").tempdir().unwrap(), port: free(), controller_port: free() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data of Kafka")
    }

    fn start(&self, more: &[(&str, &str)]) -> Service {
        let (data, port, controller_port) = (self.data(), self.port.to_string(), self.controller_port.to_string());
        let path = std::env::var("PATH").unwrap();
        let mut variables =
            vec![("KAFKA_DATA", data.to_str().unwrap()), ("KAFKA_PORT", &port), ("KAFKA_CONTROLLER_PORT", &controller_port)];
        variables.extend([("PATH", path.as_str()), ("EVENT_BUS_PARTITION_COUNT", "3")]);
        variables.extend(more);
        Service::start(PROGRAM, &[], &variables).unwrap()
    }

    /// Starts the broker and waits until it takes clients.
    fn ready(&self) -> Service {
        let service = self.start(&[]);
        let end = Instant::now() + LIMIT;
        while service.events("takes clients").is_empty() {
            assert!(Instant::now() < end, "{}", service.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        service.wait_for_readiness(200).unwrap();
        service
    }

    /// Starts the program where it can't work, and returns its log.
    fn refused(&self, more: &[(&str, &str)]) -> String {
        let mut service = self.start(more);
        assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
        service.log()
    }

    /// Finds the broker: the Java that reads this place's settings.
    fn broker(&self) -> Option<Pid> {
        let settings = self.data().join("server.properties").into_os_string().into_encoded_bytes();
        let reads = |pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == settings))
        };
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.into_iter().find(reads).map(Pid::from_raw)
    }

    /// Publishes a record and returns its offset; none if the broker does not take it.
    async fn publish(&self) -> Option<i64> {
        let settings = BusSettings { limit: Duration::from_secs(20), ..BusSettings::new(vec![format!("127.0.0.1:{}", self.port)], "test") };
        let record = Record { topic: TOPIC.to_owned(), key: "key".to_owned(), payload: vec![1], headers: Vec::new() };
        let publisher = Publisher::new(settings);
        let partitions = publisher.high_watermarks(TOPIC).await.unwrap().len();
        assert_eq!(partitions, 3);
        publisher.publish(&[record]).await.remove(0).ok().map(|placed| placed.offset)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_acknowledged_outlives_the_broker_the_program_and_an_end_in_order() {
    let place = Place::new();
    let mut service = place.ready();
    assert_eq!(service.events("topic made").len(), 2);
    assert_eq!(place.publish().await, Some(0));

    kill(place.broker().unwrap(), Signal::SIGKILL).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
    assert!(service.log().contains("Kafka ended (signal: 9 (SIGKILL)"), "{}", service.log());
    let service = place.ready();
    assert!(service.events("preparing the log").is_empty() && service.events("topic made").is_empty(), "{}", service.log());
    assert_eq!(place.publish().await, Some(1));

    // With SIGKILL, as a dropped service ends.
    drop(service);
    eventually("the broker goes with its program", || place.broker().is_none().then_some(())).unwrap();
    let mut service = place.ready();
    let second = place.refused(&[("METRICS_PORT", "0")]);
    assert!(second.contains("another program serves the folder"), "{second}");
    assert_eq!(place.publish().await, Some(2));
    service.end_in_order().unwrap();
    assert_eq!(place.broker(), None);
    assert!(place.data().join("data/.kafka_cleanshutdown").exists(), "{}", service.log());
}

#[test]
fn what_is_missing_or_taken_ends_it_with_the_reason() {
    let place = Place::new();
    assert!(place.refused(&[("PATH", "/nowhere")]).contains("Java is not installed"));
    let log = place.refused(&[("KAFKA_JARS", "/nowhere")]);
    assert!(log.contains("Kafka is not installed") && log.contains("tests/kafka.sh"), "{log}");

    let taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let log = place.refused(&[]);
    assert!(log.contains("Kafka ended (exit status: 1: ") && log.contains("Address already in use"), "{log}");
    drop(taken);

    fs::remove_dir_all(place.data()).unwrap();
    fs::create_dir_all(place.data().join("data/precious")).unwrap();
    let log = place.refused(&[]);
    assert!(log.contains("holds files, but no log of Kafka"), "{log}");
    assert!(place.data().join("data/precious").exists());
}
