//! feature-worker: drives features through their states, one at a time a feature, by events of the bus and by a sweep of its own.
//!
//! It opens the metrics port only. The database is the truth; the bus says where to look.

mod config;
mod counts;
mod dead_letters;
mod drive;
mod events;
mod expiry;
mod journal;
mod replay;
mod steps;
mod sweep;
mod upstreams;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feature_store::Store;
use service_bus::{ConsumerOptions, Publisher, consume, dead_letter_topic, event_topic};
use service_kit::{App, Arguments, BoxError, Database, Lifecycle, Program, Surface, Task};

use config::{Config, read};
use dead_letters::DeadLetterTopic;
use drive::{Driver, Stop};
use events::Events;
use expiry::Expiry;
use upstreams::Services;

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "drives features through their states";

fn database(config: &Config) -> Database {
    // The server lists its connections by this name: one can tell which worker holds which.
    let application = format!("{NAME} {}", config.worker);
    Database::new(config.database.clone(), config.pool_size, &application)
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    counts::begin();
    let database = database(&config);
    let checks = [database.check()].into_iter().chain(config.checks()).collect();
    let store = Store::new(database.pool().clone(), config.keys()?);
    let stop = end_with(&lifecycle, config.patience);
    let services = Services::new(config.addresses.clone())?;
    let (bus, idle) = (config.bus(), config.sweep_idle);
    let expiry =
        Expiry { store: store.clone(), objects: services.objects(), kept_for: config.options.artifacts_kept, every: config.artifact_sweep };
    let driver = Arc::new(Driver::new(store.clone(), services, config.options, stop.clone()));
    let dead_letters = DeadLetterTopic { publisher: Publisher::new(bus.clone()), topic: dead_letter_topic(&config.topic_prefix) };
    let events = Events::new(Arc::clone(&driver), Arc::new(dead_letters), config.options.tries);
    let consumer = async move {
        let options = ConsumerOptions::new(event_topic(&config.topic_prefix), &config.group, config.options.concurrency);
        let ended = stop.begin_nothing.clone().cancelled_owned();
        Ok(consume(&bus, options, ended, move |received| events.clone().take(received)).await?)
    };
    let sweep = async move {
        sweep::sweep(driver, store, idle).await;
        Ok(())
    };
    let tasks = vec![Task::new("consumer", consumer), Task::new("sweep", sweep), Task::new("artifact sweep", expiry.run(lifecycle))];
    Ok(App { checks, tasks, ..App::default() })
}

/// Lets nothing begin once the process is to stop, and drops what still runs when the patience is over.
fn end_with(lifecycle: &Lifecycle, patience: Duration) -> Stop {
    let (stop, stopping) = (Stop::default(), lifecycle.stopping());
    let told = stop.clone();
    tokio::spawn(async move {
        stopping.await;
        told.begin_nothing.cancel();
        tokio::time::sleep(patience).await;
        told.drop_everything.cancel();
    });
    stop
}

async fn replay(config: Config, arguments: Arguments) -> Result<ExitCode, BoxError> {
    let store = Store::new(database(&config).pool().clone(), config.keys()?);
    replay::run(store, arguments).await
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, read)
        .surface(Surface::Metrics)
        .command_with("replay", "compare what a feature's events say with the database: 0 the same, 1 not", replay::OPTIONS, replay)
        .run(start)
}
