//! A worker's surroundings: PostgreSQL, the bus, the services.

use std::time::Duration;

use feature_api::feature::State;
use feature_store::{Creation, Instruction, Keys, New, Store, Trace, replay};
use service_testing::{Postgres, Service};
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::bus::{Bus, Publishing};
use crate::doubles::{Addresses, Doubles};

const PROGRAM: &str = env!("CARGO_BIN_EXE_feature-worker");
const ENCRYPTION_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const LOOKUP_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) struct Platform {
    postgres: Postgres,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) doubles: Doubles,
    addresses: Addresses,
    _publishing: Publishing,
}

impl Platform {
    /// Starts all but the workers; each call of a service takes `delay`.
    pub(crate) async fn start(delay: Duration) -> Self {
        let postgres = Postgres::start().unwrap();
        let pool = PgPoolOptions::new().max_connections(10).connect(&postgres.url()).await.unwrap();
        sqlx::migrate!("../feature-service/migrations").run(&pool).await.unwrap();
        let store = Store::new(pool, Keys::from_tokens(ENCRYPTION_KEY, LOOKUP_KEY).unwrap());
        let (bus, doubles) = (Bus::start().await, Doubles::default());
        doubles.outside().delay = delay;
        let addresses = doubles.serve().await;
        let publishing = Publishing::start(store.clone(), &bus);
        Self { postgres, store, bus, doubles, addresses, _publishing: publishing }
    }

    /// Runs a query as another program would.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.postgres.query(sql).unwrap()
    }

    /// Starts a worker, or its command with `arguments`.
    pub(crate) fn worker(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Service {
        let url = self.postgres.url();
        let (http, grpc) = (self.addresses.http.as_str(), self.addresses.grpc.as_str());
        let mut all = vec![
            ("DATABASE_URL", url.as_str()),
            ("WORKER_ID", name),
            ("EVENT_BUS_BROKERS", self.bus.address.as_str()),
            ("REPOSITORY_SERVICE_URL", http),
            ("GIT_SERVICE_URL", http),
            ("LLM_ORCHESTRATOR_URL", http),
            ("SANDBOX_MANAGER_URL", grpc),
            ("OBJECT_STORE_ENDPOINT", http),
            ("OBJECT_STORE_BUCKET", "artifacts"),
            ("AWS_ACCESS_KEY_ID", "canary-access"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
            ("DEK_ACTIVE_ENCRYPTION_TOKEN", ENCRYPTION_KEY),
            ("DEK_LOOKUP_TOKEN", LOOKUP_KEY),
            ("WORKER_SWEEP_IDLE_SECONDS", "5"),
            ("LOG_LEVEL", "info"),
        ];
        all.extend_from_slice(variables);
        Service::start(PROGRAM, arguments, &all).unwrap()
    }

    pub(crate) async fn create(&self, count: usize) -> Vec<Uuid> {
        let new = |number: usize| New {
            repository_url: "https://git.example.com/demo.git".to_owned(),
            instruction: Instruction::new(format!("Add page {number}")),
            idempotency_key: None,
            trace: Trace { parent: Some(TRACE.to_owned()), state: None },
        };
        let created = self.store.create_all((0..count).map(new).collect()).await.unwrap();
        let id = |creation| if let Creation::Created(id) = creation { id } else { panic!("{creation:?}") };
        created.into_iter().map(id).collect()
    }

    /// Waits until `enough` features are in one of the states.
    pub(crate) async fn until(&self, states: &[State], enough: usize, workers: &[&Service]) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let all = self.store.list(&feature_store::List { states: vec![], limit: 200, after: None }).await.unwrap().features;
            if all.iter().filter(|feature| states.contains(&feature.state)).count() >= enough {
                return;
            }
            let logs: String = workers.iter().map(|worker| worker.log()).collect();
            let found: Vec<&str> = all.iter().map(|feature| feature.state.as_str_name()).collect();
            assert!(Instant::now() < deadline, "not {enough} of {states:?} in time: {found:?}\n{logs}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Checks that each feature is completed, its events are whole and say what the database says, and every effect was one.
    pub(crate) async fn assert_done_once(&self, features: &[Uuid]) {
        for feature in features {
            let (kept, steps) = (self.store.get(*feature).await.unwrap(), self.store.steps(*feature).await.unwrap());
            assert_eq!(kept.state, State::Completed, "{feature}: {:?}", kept.error);
            assert_eq!(steps.len(), 6, "{steps:?}");
            let events = self.store.events(*feature, 0).await.unwrap();
            let replayed = replay(events.iter().map(|event| &event.event)).unwrap();
            assert_eq!(replayed.compare(&kept, &steps), vec![], "{feature}");
            let outside = self.doubles.outside();
            let push = steps.iter().find(|step| step.step_type == "push").unwrap().id.to_string();
            assert_eq!(outside.commits[&push].len(), 1, "{feature} has several commits");
            for name in ["change.patch", "verify.log"] {
                assert_eq!(outside.objects[&format!("{feature}/{name}")].len(), 1, "{feature} has several artifacts {name}");
            }
        }
        let outside = self.doubles.outside();
        assert_eq!((outside.commits.len(), outside.objects.len()), (features.len(), features.len() * 2));
        assert!(outside.archives.iter().all(|archive| archive.len() == 3_000_000), "an archive was cut");
    }
}
