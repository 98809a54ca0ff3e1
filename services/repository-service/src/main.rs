//! repository-service: knows the repositories that features are made in; ready when its database answers.

use std::process::ExitCode;

use service_kit::variables::{DATABASE_POOL_SIZE, DATABASE_URL};
use service_kit::{App, BoxError, Database, DatabaseUrl, Lifecycle, Program, Settings};

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "keeps the repositories that features are made in";

struct Config {
    database: DatabaseUrl,
    pool_size: u32,
}

fn read(settings: &mut Settings) -> Config {
    Config { database: settings.required(&DATABASE_URL), pool_size: settings.required(&DATABASE_POOL_SIZE) }
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let database = Database::new(config.database, config.pool_size, NAME);
    Ok(App { checks: vec![database.check()], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
