//! feature-worker: drives features through their states; ready when its database answers. It opens the metrics port only.

use std::process::ExitCode;

use service_kit::variables::{
    DATABASE_POOL_SIZE, DATABASE_URL, EVENT_BUS_BROKERS, EVENT_BUS_CONSUMER_GROUP, EVENT_BUS_PARTITION_COUNT, EVENT_BUS_TOPIC_PREFIX,
    GIT_CLONE_TIMEOUT, GIT_OPERATION_TIMEOUT, GIT_SERVICE_URL, GIT_WORKSPACE_BASE_PATH, LLM_ORCHESTRATOR_URL, SANDBOX_MANAGER_URL, TEXT,
};
use service_kit::{App, BoxError, Check, Database, DatabaseUrl, Lifecycle, Program, Settings, Surface, Variable, upstream_check};

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "drives features through their states";

const WORKER_ID: Variable<String> =
    Variable::new("WORKER_ID", &TEXT, "name of this worker among the others, the pod's name").or("feature-worker");

struct Config {
    database: DatabaseUrl,
    pool_size: u32,
    worker: String,
    upstreams: Vec<Check>,
}

fn read(settings: &mut Settings) -> Config {
    let config = Config {
        database: settings.required(&DATABASE_URL),
        pool_size: settings.required(&DATABASE_POOL_SIZE),
        worker: settings.required(&WORKER_ID),
        upstreams: read_upstreams(settings),
    };
    // Read for their mistakes: a worker must not start with a configuration that its first feature would trip over.
    settings.optional(&EVENT_BUS_BROKERS);
    settings.required(&EVENT_BUS_TOPIC_PREFIX);
    settings.required(&EVENT_BUS_CONSUMER_GROUP);
    settings.required(&EVENT_BUS_PARTITION_COUNT);
    settings.required(&GIT_WORKSPACE_BASE_PATH);
    settings.required(&GIT_CLONE_TIMEOUT);
    settings.required(&GIT_OPERATION_TIMEOUT);
    config
}

fn read_upstreams(settings: &mut Settings) -> Vec<Check> {
    let upstreams = [
        ("git-service", settings.optional(&GIT_SERVICE_URL)),
        ("llm-orchestrator", settings.optional(&LLM_ORCHESTRATOR_URL)),
        ("sandbox-manager", settings.optional(&SANDBOX_MANAGER_URL)),
    ];
    upstreams.into_iter().filter_map(|(name, upstream)| Some(upstream_check(name, upstream?))).collect()
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    // The server lists its connections by this name: one can tell which worker holds which.
    let application = format!("{NAME} {}", config.worker);
    let database = Database::new(config.database, config.pool_size, &application);
    let checks = [database.check()].into_iter().chain(config.upstreams).collect();
    Ok(App { checks, ..App::default() })
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
