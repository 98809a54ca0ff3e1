//! local-store: a small S3 server whose objects are files of one folder, for environments on one machine.
//!
//! Signatures (version 4), request parsing and XML are `s3s`; how objects lie on the disk is this crate's. What it answers: `PutObject`
//! with `If-Match` and `If-None-Match`, `GetObject` with ranges, `HeadObject`, `DeleteObject`, `DeleteObjects`, `ListObjectsV2`,
//! `HeadBucket`, `ListBuckets`, `CreateBucket`, and URLs signed in advance. Anything else is answered with 501: multipart uploads, copies,
//! versions.
//!
//! A write that was answered is on the disk: it survives `kill -9` and a power cut. A write that was not answered left the old object as
//! it was.

mod api;
mod digest;
mod listing;
mod silence;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use service_kit::variables::{COUNT, PATH, SECRET};
use service_kit::{App, BoxError, Check, Kind, Lifecycle, Program, Secret, Settings, Variable};

use crate::api::Api;
use crate::silence::{Answerer, Reporter, answer};
use crate::store::{Limits, Store};

const ABOUT: &str = "keeps objects as files and serves them over the S3 protocol, for one machine";

const BUCKET_NAMES: Kind<Vec<String>> = Kind { expected: "names of buckets, several separated by commas", parse: parse_buckets };
const STORE_PATH: Variable<String> = Variable::new("STORE_PATH", &PATH, "folder of the objects").or("/var/lib/store");
const STORE_BUCKETS: Variable<Vec<String>> = Variable::new("STORE_BUCKETS", &BUCKET_NAMES, "buckets that are made at the start");
const STORE_MAX_OBJECT: Variable<u32> = Variable::new("STORE_MAX_OBJECT_MB", &COUNT, "largest object, in MiB").or("1024");
const ACCESS_KEY: Variable<Secret<String>> = Variable::new("AWS_ACCESS_KEY_ID", &SECRET, "name of the only key").secret();
const SECRET_KEY: Variable<Secret<String>> =
    Variable::new("AWS_SECRET_ACCESS_KEY", &SECRET, "the key that requests are signed with").secret();

struct Config {
    path: PathBuf,
    buckets: Vec<String>,
    limits: Limits,
    access_key: Secret<String>,
    secret_key: Secret<String>,
}

fn parse_buckets(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    names.iter().all(|name| s3s::path::check_bucket_name(name)).then_some(names)
}

fn read(settings: &mut Settings) -> Config {
    Config {
        path: settings.required(&STORE_PATH).into(),
        buckets: settings.optional(&STORE_BUCKETS).unwrap_or_default(),
        limits: Limits { object_bytes: u64::from(settings.required(&STORE_MAX_OBJECT)) * 1024 * 1024 },
        access_key: settings.required(&ACCESS_KEY),
        secret_key: settings.required(&SECRET_KEY),
    }
}

async fn start(_lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let (path, limits) = (config.path.clone(), config.limits);
    let store = tokio::task::spawn_blocking(move || {
        let store = Store::open(&path, limits)?;
        config.buckets.iter().try_for_each(|bucket| store.make_bucket(bucket).map(drop))?;
        Ok::<_, store::StoreError>(store)
    })
    .await??;
    let store = Arc::new(store);
    let reporter = Reporter::here();
    let mut builder = S3ServiceBuilder::new(Api::new(Arc::clone(&store), reporter.clone()));
    builder.set_auth(SimpleAuth::from_single(config.access_key.expose().as_str(), config.secret_key.expose().as_str()));
    let answerer = Answerer::new(builder.build(), reporter);
    let check = Check::new("store", move || {
        let store = Arc::clone(&store);
        async move { store.look().map_err(|error| error.to_string()) }
    });
    // Not a fallback: that is the kit's, for what no route takes.
    let routes = Router::new().route("/", any(answer)).route("/{*path}", any(answer)).with_state(answerer);
    Ok(App { routes, checks: vec![check], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).run(start)
}
