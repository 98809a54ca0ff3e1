//! A database of a test's own, and what tests say often.

use std::path::Path;
use std::sync::{Arc, Mutex};

use feature_api::feature::{Event, State};
use feature_store::{Creation, Instruction, Keys, Move, New, Store, StoredEvent, Trace, Transition};
use service_testing::Postgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use uuid::Uuid;

/// A canary that must never be seen in the database, and another one as a key.
pub(crate) const INSTRUCTION: &str = "canary-7fd1: make the mine safe";
const TOKENS: [&str; 2] = ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="];

pub(crate) struct World {
    pub(crate) postgres: Arc<Mutex<Postgres>>,
    pub(crate) store: Store,
}

impl World {
    pub(crate) async fn start() -> Self {
        let postgres = Postgres::start().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../feature-service/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            postgres.query(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
        let pool = PgPoolOptions::new().max_connections(60).connect(&postgres.url()).await.unwrap();
        Self { store: store_on(pool), postgres: Arc::new(Mutex::new(postgres)) }
    }

    /// Runs a query as another program would; gives its rows or the database's refusal.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        self.postgres.lock().unwrap().query(sql).map_err(|error| error.to_string())
    }

    pub(crate) async fn feature(&self) -> Uuid {
        match self.store.create(new(None)).await.unwrap() {
            Creation::Created(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn forward(&self, feature: Uuid) -> StoredEvent {
        let state = self.store.state(feature).await.unwrap();
        match self.store.transition(feature, &Move::forward(state).unwrap()).await.unwrap() {
            Transition::Moved { event, .. } => event,
            other @ Transition::NotThere { .. } => panic!("{other:?}"),
        }
    }

    pub(crate) async fn complete(&self, feature: Uuid) {
        while self.store.state(feature).await.unwrap() != State::Completed {
            self.forward(feature).await;
        }
    }

    pub(crate) async fn events(&self, feature: Uuid) -> Vec<Event> {
        self.store.events(feature, 0).await.unwrap().into_iter().map(|stored| stored.event).collect()
    }

    /// Checks that what events say is what the database has.
    pub(crate) async fn check_replay(&self, feature: Uuid) {
        let events = self.events(feature).await;
        let replayed = feature_store::replay(&events).unwrap();
        let differences = replayed.compare(&self.store.get(feature).await.unwrap(), &self.store.steps(feature).await.unwrap());
        assert_eq!(differences, []);
    }
}

pub(crate) fn store_on(pool: PgPool) -> Store {
    Store::new(pool, Keys::from_tokens(TOKENS[0], TOKENS[1]).unwrap())
}

pub(crate) fn new(key: Option<&str>) -> New {
    New {
        repository_url: "https://example.com/repo.git".to_owned(),
        instruction: Instruction::new(INSTRUCTION),
        idempotency_key: key.map(str::to_owned),
        trace: Trace { parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()), state: None },
    }
}
