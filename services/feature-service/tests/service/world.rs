//! A service with its database and its event bus, and what the tests say often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feature_api::feature::Event;
use feature_store::{Keys, Move, Store};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::{Value, json};
use service_bus::{BusSettings, ConsumerOptions, Verdict, consume};
use service_testing::{Postgres, Service};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_feature-service");
pub(crate) const TOKENS: [(&str, &str); 2] = [
    ("DEK_ACTIVE_ENCRYPTION_TOKEN", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ("DEK_LOOKUP_TOKEN", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="),
];
pub(crate) const REPOSITORY: &str = "https://example.com/repo.git";
const TOPIC: &str = "feature.events";
const PARTITIONS: i32 = 8;

pub(crate) fn start(arguments: &[&str], url: &str) -> Service {
    let limits = [("MIGRATE_CONNECT_TIMEOUT_SECONDS", "15"), ("MIGRATE_LOCK_TIMEOUT_SECONDS", "15")];
    Service::start(PROGRAM, arguments, &[&limits[..], &TOKENS, &[("DATABASE_URL", url)]].concat()).unwrap()
}

pub(crate) fn migrate(url: &str) -> (Option<i32>, String) {
    let mut service = start(&["--migrate"], url);
    let code = service.wait().unwrap().code();
    (code, service.log())
}

fn bus() -> MockCluster<'static, DefaultProducerContext> {
    let bus = MockCluster::new(1).unwrap();
    bus.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    bus
}

/// A migrated database and an event bus, for services to be started on.
pub(crate) struct Platform {
    pub(crate) postgres: Postgres,
    pub(crate) bus: MockCluster<'static, DefaultProducerContext>,
}

impl Platform {
    pub(crate) fn start() -> Self {
        let postgres = Postgres::start().unwrap();
        assert_eq!(migrate(&postgres.url()).0, Some(0));
        Self { postgres, bus: bus() }
    }

    /// Starts a service on it and waits until it is ready.
    pub(crate) fn service(&self, more: &[(&str, &str)]) -> Running {
        let (url, brokers) = (self.postgres.url(), self.bus.bootstrap_servers());
        let own = [("DATABASE_URL", url.as_str()), ("EVENT_BUS_BROKERS", &brokers), ("WATCH_HEARTBEAT_SECONDS", "1")];
        let process = Service::start(PROGRAM, &[], &[&TOKENS[..], &own, more].concat()).unwrap();
        process.wait_for_readiness(200).unwrap();
        let client = Client { port: process.port("http").unwrap(), http: reqwest::Client::builder().no_proxy().build().unwrap() };
        Running { process, client }
    }

    /// Opens the same database as the service's own, as a worker does.
    pub(crate) async fn store(&self) -> Store {
        let pool = PgPoolOptions::new().max_connections(10).connect(&self.postgres.url()).await.unwrap();
        Store::new(pool, Keys::from_tokens(TOKENS[0].1, TOKENS[1].1).unwrap())
    }

    /// Gives it another bus, which knows nothing of the first one's log.
    pub(crate) fn forget_the_bus(&mut self) {
        self.bus = bus();
    }

    /// Reads the bus from its beginning until it holds every event of the database; the first times of each are in order.
    pub(crate) async fn check_bus_holds_every_event(&self) {
        let rows = self.postgres.query("SELECT feature_execution_id, count(*) FROM execution_events GROUP BY 1").unwrap();
        let row = |row: &str| row.split_once('|').map(|(id, count)| (id.to_owned(), count.parse::<i32>().unwrap()));
        let expected: BTreeMap<String, Vec<i32>> = rows.lines().filter_map(row).map(|(id, count)| (id, (0..count).collect())).collect();
        let settings = BusSettings::new(vec![self.bus.bootstrap_servers()], "test");
        let seen: Arc<Mutex<BTreeMap<String, Vec<i32>>>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let group = Uuid::now_v7().to_string();
        let take = {
            let seen = Arc::clone(&seen);
            move |received: service_bus::Received| {
                let event: Event = serde_json::from_slice(&received.payload).unwrap();
                assert_eq!(received.key, event.feature_execution_id.as_bytes());
                let mut seen = seen.lock().unwrap();
                let sequences = seen.entry(event.feature_execution_id).or_default();
                if !sequences.contains(&event.sequence) {
                    sequences.push(event.sequence);
                }
                async { Verdict::Done }
            }
        };
        let reading = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            consume(&settings, ConsumerOptions::new(TOPIC, &group, 64), stopped, take).await
        });
        let whole = || *seen.lock().unwrap() == expected;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !whole() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(stop);
        reading.await.unwrap().unwrap();
        assert!(whole(), "{:?}\nis not\n{expected:?}", seen.lock().unwrap());
    }
}

/// A service that is ready; killed without warning when dropped.
pub(crate) struct Running {
    pub(crate) process: Service,
    pub(crate) client: Client,
}

impl Running {
    pub(crate) async fn call(&self, method: &str, request: &Value) -> (u16, Value) {
        self.client.call(method, request).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, body: &str) -> reqwest::Response {
        self.client.send(method, body.to_owned(), &[]).await.unwrap()
    }

    /// Takes a feature and returns its id.
    pub(crate) async fn create(&self) -> Uuid {
        let (status, answer) = self.call("Create", &json!({"repository_url": REPOSITORY, "instruction": "make it blue"})).await;
        assert_eq!((status, &answer["state"]), (200, &json!("PENDING")), "{answer}");
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        service_testing::get(self.process.port("metrics").unwrap(), "/metrics").unwrap().body
    }
}

/// Somebody who calls a service; clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    port: u16,
    http: reqwest::Client,
}

impl Client {
    /// Calls a method; gives status and answer.
    pub(crate) async fn call(&self, method: &str, request: &Value) -> Result<(u16, Value), reqwest::Error> {
        let response = self.send(method, request.to_string(), &[]).await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }

    pub(crate) async fn send(&self, method: &str, body: String, headers: &[(&str, &str)]) -> Result<reqwest::Response, reqwest::Error> {
        let url = format!("http://127.0.0.1:{}/feature.feature.v1.FeatureService/{method}", self.port);
        let request = headers.iter().fold(self.http.post(url), |request, (name, value)| request.header(*name, *value));
        request.body(body).send().await
    }
}

/// Brings a feature to its end, as workers do.
pub(crate) async fn complete(store: &Store, feature: Uuid) {
    while let Some(forward) = Move::forward(store.state(feature).await.unwrap()) {
        store.transition(feature, &forward).await.unwrap();
    }
}
