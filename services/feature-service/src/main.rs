//! feature-service: takes features and keeps their states; ready when its database answers with the tables it needs.

mod migrate;

use std::process::ExitCode;

use service_kit::variables::{
    DATABASE_POOL_SIZE, DATABASE_URL, EVENT_BUS_BROKERS, EVENT_BUS_PARTITION_COUNT, EVENT_BUS_TOPIC_PREFIX, SECONDS, SECRET,
};
use service_kit::{App, BoxError, Check, Database, DatabaseUrl, Lifecycle, Program, Secret, Settings, Variable};

use migrate::Limits;

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "takes features and keeps their states";

const CONNECT_TIMEOUT: Variable<std::time::Duration> =
    Variable::new("MIGRATE_CONNECT_TIMEOUT_SECONDS", &SECONDS, "how long `--migrate` waits for the database to answer").or("60");
const LOCK_TIMEOUT: Variable<std::time::Duration> =
    Variable::new("MIGRATE_LOCK_TIMEOUT_SECONDS", &SECONDS, "how long `--migrate` waits for another one to end").or("120");
const ENCRYPTION_KEY: Variable<Secret<String>> =
    Variable::new("DEK_ACTIVE_ENCRYPTION_TOKEN", &SECRET, "key that instructions are encrypted with").secret();
const LOOKUP_KEY: Variable<Secret<String>> = Variable::new("DEK_LOOKUP_TOKEN", &SECRET, "key that instructions are looked up by").secret();

struct Config {
    database: DatabaseUrl,
    pool_size: u32,
    limits: Limits,
}

fn read(settings: &mut Settings) -> Config {
    let config = Config {
        database: settings.required(&DATABASE_URL),
        pool_size: settings.required(&DATABASE_POOL_SIZE),
        limits: Limits { connect: settings.required(&CONNECT_TIMEOUT), lock: settings.required(&LOCK_TIMEOUT) },
    };
    // Read for their mistakes: the service must not start with a configuration that its first feature would trip over.
    settings.optional(&EVENT_BUS_BROKERS);
    settings.required(&EVENT_BUS_TOPIC_PREFIX);
    settings.required(&EVENT_BUS_PARTITION_COUNT);
    settings.optional(&ENCRYPTION_KEY);
    settings.optional(&LOOKUP_KEY);
    config
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let database = Database::new(config.database, config.pool_size, NAME);
    let pool = database.pool().clone();
    let schema = Check::new("schema", move || {
        let pool = pool.clone();
        async move { migrate::is_current(&pool).await }
    });
    Ok(App { checks: vec![database.check(), schema], ..App::default() })
}

async fn migrate(config: Config) -> Result<(), BoxError> {
    migrate::run(&config.database, &config.limits).await.map_err(BoxError::from)
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, read)
        .command("--migrate", "bring the database schema up to date, then exit", migrate)
        .run(start)
}
