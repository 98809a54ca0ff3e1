//! feature-service: takes features, keeps their states and brings their events to the event bus; ready when its database answers with the
//! tables it needs.

mod archive;
mod artifacts;
mod config;
mod failure;
mod figures;
mod intake;
mod migrate;
mod news;
mod publish;
mod request;
mod service;
mod topics;
mod watch;

use std::process::ExitCode;

use feature_store::{Keys, Store};
use service_bus::BusSettings;
use service_kit::{App, BoxError, Check, Database, Lifecycle, Program, Secret, Task};
use sqlx::PgPool;
use thiserror::Error;

use artifacts::Signer;
use config::Config;
use intake::Intake;
use news::News;
use publish::{KafkaBus, Publisher};
use service::Service;
use watch::Watch;

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "takes features and keeps their states";

/// Why the service does not start.
#[derive(Debug, Error)]
#[error("{variable} is not usable")]
struct TokenError {
    variable: &'static str,
    #[source]
    source: Option<feature_store::KeyError>,
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let topics = config.topics();
    let database = Database::new(config.database, config.pool_size, NAME);
    let store = Store::new(database.pool().clone(), keys(&config.tokens)?);
    let news = News::new(store.clone());
    let (intake, intake_task) = Intake::new(store.clone());
    let mut tasks = vec![
        intake_task,
        Task::new("news", news.clone().listen(lifecycle.clone())),
        Task::new("stuck features", figures::count_stuck(store.clone(), lifecycle.clone())),
        Task::new("archive", archive::keep(store.clone(), config.archive, lifecycle.clone())),
    ];
    match config.brokers {
        Some(brokers) => {
            let settings = BusSettings::new(brokers, NAME);
            let topic = service_bus::event_topic(&config.topic_prefix);
            let bus = KafkaBus { publisher: service_bus::Publisher::new(settings.clone()), topic };
            tasks.push(Task::new("topics", topics::keep(settings, topics, lifecycle.clone())));
            let publisher = Publisher { store: store.clone(), bus, wake: news.wake() };
            tasks.push(Task::new("publisher", publisher.run(lifecycle.clone())));
        }
        None => tracing::warn!("EVENT_BUS_BROKERS is not set: events stay in the outbox"),
    }
    let watch = Watch { store: store.clone(), news, lifecycle, heartbeat: config.heartbeat };
    let routes = service::routes(Service { store, intake, signer: Signer::new(config.store), urls: config.urls, watch });
    let checks = vec![database.check(), schema_check(database.pool().clone())];
    Ok(App { routes, checks, tasks, ..App::default() })
}

fn keys((encryption, lookup): &(Option<Secret<String>>, Option<Secret<String>>)) -> Result<Keys, TokenError> {
    let (variable, source) = match (encryption, lookup) {
        (None, _) => ("DEK_ACTIVE_ENCRYPTION_TOKEN", None),
        (_, None) => ("DEK_LOOKUP_TOKEN", None),
        (Some(encryption), Some(lookup)) => match Keys::from_tokens(encryption.expose(), lookup.expose()) {
            Ok(keys) => return Ok(keys),
            Err(error) => ("a DEK token", Some(error)),
        },
    };
    Err(TokenError { variable, source })
}

fn schema_check(pool: PgPool) -> Check {
    Check::new("schema", move || {
        let pool = pool.clone();
        async move { migrate::is_current(&pool).await }
    })
}

async fn migrate(config: Config) -> Result<(), BoxError> {
    migrate::run(&config.database, &config.limits).await.map_err(BoxError::from)
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, config::read)
        .command("--migrate", "bring the database schema up to date, then exit", migrate)
        .run(start)
}
