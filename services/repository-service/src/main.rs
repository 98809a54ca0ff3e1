//! repository-service: knows the repositories that features are made in; ready when its database answers with the table it needs.

mod request;
mod service;
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use feature_api::{Schemes, UrlRules};
use service_kit::variables::{DATABASE_POOL_SIZE, DATABASE_URL};
use service_kit::{App, BoxError, Check, Database, DatabaseUrl, Kind, Lifecycle, Program, Settings, Variable};

use service::Service;

const NAME: &str = env!("CARGO_PKG_NAME");
const ABOUT: &str = "keeps the repositories that features are made in";

const SCHEMES: Kind<Schemes> = Kind { expected: "schemes like https,ssh", parse: |text| text.parse().ok() };
const SWITCH: Kind<bool> = Kind { expected: "true or false", parse: |text| text.parse().ok() };

const ALLOWED_SCHEMES: Variable<Schemes> =
    Variable::new("ALLOWED_URL_SCHEMES", &SCHEMES, "schemes of repository URLs that are allowed").or("https,ssh");
const ALLOW_LOOPBACK: Variable<bool> =
    Variable::new("ALLOW_LOOPBACK_URLS", &SWITCH, "whether repository URLs may name this machine").or("false");

struct Config {
    database: DatabaseUrl,
    pool_size: u32,
    rules: UrlRules,
}

fn read(settings: &mut Settings) -> Config {
    Config {
        database: settings.required(&DATABASE_URL),
        pool_size: settings.required(&DATABASE_POOL_SIZE),
        rules: UrlRules { schemes: settings.required(&ALLOWED_SCHEMES), loopback: settings.required(&ALLOW_LOOPBACK) },
    }
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let database = Database::new(config.database, config.pool_size, NAME);
    let pool = database.pool().clone();
    let schema = Check::new("schema", {
        let pool = pool.clone();
        move || {
            let pool = pool.clone();
            async move { store::table_is_there(&pool).await }
        }
    });
    let routes = service::routes(Arc::new(Service { pool, rules: config.rules }));
    Ok(App { routes, checks: vec![database.check(), schema], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(NAME, env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
