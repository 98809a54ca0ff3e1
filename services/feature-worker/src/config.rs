//! What the worker is configured with.

use std::time::Duration;

use feature_store::{KeyError, Keys};
use service_bus::BusSettings;
use service_kit::variables::{
    COUNT, DATABASE_POOL_SIZE, DATABASE_URL, DAYS, EVENT_BUS_BROKERS, EVENT_BUS_CONSUMER_GROUP, EVENT_BUS_TOPIC_PREFIX, GIT_CLONE_TIMEOUT,
    GIT_OPERATION_TIMEOUT, GIT_SERVICE_URL, LLM_ORCHESTRATOR_URL, REPOSITORY_SERVICE_URL, SANDBOX_MANAGER_URL, SECONDS, SECRET,
    SHUTDOWN_GRACE, SHUTDOWN_LAME_DUCK, TEXT, UPSTREAM,
};
use service_kit::{Check, DatabaseUrl, Kind, Secret, Settings, Upstream, Variable, upstream_check};

use crate::drive::Options;
use crate::upstreams::{Addresses, StoreAddress};

const KEY: Kind<Secret<String>> =
    Kind { expected: "32 bytes in base64", parse: |text| Keys::check_token(text).ok().map(|()| Secret::new(text.to_owned())) };

const WORKER_ID: Variable<String> =
    Variable::new("WORKER_ID", &TEXT, "name of this worker among the others, the pod's name").or("feature-worker");
const CONCURRENCY: Variable<u32> = Variable::new("WORKER_CONCURRENCY", &COUNT, "features that are driven at the same time").or("8");
const STEP_TRIES: Variable<u32> = Variable::new("WORKER_STEP_TRIES", &COUNT, "how often a step is begun before its feature fails").or("8");
const SWEEP_IDLE: Variable<Duration> =
    Variable::new("WORKER_SWEEP_IDLE_SECONDS", &SECONDS, "how long a feature may not move before it is driven without an event").or("30");
const LLM_TIMEOUT: Variable<Duration> =
    Variable::new("WORKER_LLM_TIMEOUT_SECONDS", &SECONDS, "longest time for one call of the LLM orchestrator").or("600");
const SANDBOX_TIMEOUT: Variable<Duration> = Variable::new("SANDBOX_TIMEOUT_SECONDS", &SECONDS, "longest run of a sandbox").or("600");
const ARTIFACT_DAYS: Variable<Duration> = Variable::new("ARTIFACT_RETENTION_DAYS", &DAYS, "how long artifacts are kept").or("90");
const ARTIFACT_SWEEP: Variable<Duration> =
    Variable::new("ARTIFACT_SWEEP_SECONDS", &SECONDS, "how often artifacts are looked for whose time is over").or("3600");
const ENCRYPTION_KEY: Variable<Secret<String>> =
    Variable::new("DEK_ACTIVE_ENCRYPTION_TOKEN", &KEY, "key that instructions are encrypted with").secret();
const LOOKUP_KEY: Variable<Secret<String>> = Variable::new("DEK_LOOKUP_TOKEN", &KEY, "key that instructions are looked up by").secret();
const STORE_ENDPOINT: Variable<Upstream> = Variable::new("OBJECT_STORE_ENDPOINT", &UPSTREAM, "the S3 object store");
const STORE_REGION: Variable<String> = Variable::new("OBJECT_STORE_REGION", &TEXT, "region of the object store").or("us-east-1");
const STORE_BUCKET: Variable<String> = Variable::new("OBJECT_STORE_BUCKET", &TEXT, "bucket of the artifacts").or("feature-artifacts");
const ACCESS_KEY: Variable<Secret<String>> = Variable::new("AWS_ACCESS_KEY_ID", &SECRET, "name of the object store's key").secret();
const SECRET_KEY: Variable<Secret<String>> = Variable::new("AWS_SECRET_ACCESS_KEY", &SECRET, "the object store's key").secret();

/// What an archive and the sandbox's own work may take beside the command.
const SANDBOX_MARGIN: Duration = Duration::from_secs(120);
/// Time that is left, when work is dropped at the end, for what follows.
const END_MARGIN: Duration = Duration::from_secs(3);

pub(crate) struct Config {
    pub(crate) database: DatabaseUrl,
    pub(crate) pool_size: u32,
    pub(crate) worker: String,
    encryption_key: Secret<String>,
    lookup_key: Secret<String>,
    brokers: Vec<String>,
    pub(crate) topic_prefix: String,
    pub(crate) group: String,
    pub(crate) addresses: Addresses,
    pub(crate) options: Options,
    pub(crate) sweep_idle: Duration,
    pub(crate) artifact_sweep: Duration,
    /// From the moment in which nothing new is begun until what runs is dropped.
    pub(crate) patience: Duration,
}

impl Config {
    pub(crate) fn keys(&self) -> Result<Keys, KeyError> {
        Keys::from_tokens(self.encryption_key.expose(), self.lookup_key.expose())
    }

    pub(crate) fn bus(&self) -> BusSettings {
        BusSettings::new(self.brokers.clone(), self.worker.clone())
    }

    /// Returns a check for each service whose absence no feature gets past.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let Addresses { repository, git, llm, sandbox, .. } = &self.addresses;
        let upstreams = [("repository-service", repository), ("git-service", git), ("llm-orchestrator", llm), ("sandbox-manager", sandbox)];
        upstreams.map(|(name, upstream)| upstream_check(name, upstream.clone())).into()
    }
}

pub(crate) fn read(settings: &mut Settings) -> Config {
    let grace = settings.required(&SHUTDOWN_GRACE);
    let lame_duck = settings.required(&SHUTDOWN_LAME_DUCK).min(grace / 2);
    Config {
        database: settings.required(&DATABASE_URL),
        pool_size: settings.required(&DATABASE_POOL_SIZE),
        worker: settings.required(&WORKER_ID),
        encryption_key: settings.required(&ENCRYPTION_KEY),
        lookup_key: settings.required(&LOOKUP_KEY),
        brokers: settings.required(&EVENT_BUS_BROKERS),
        topic_prefix: settings.required(&EVENT_BUS_TOPIC_PREFIX),
        group: settings.required(&EVENT_BUS_CONSUMER_GROUP),
        addresses: read_addresses(settings),
        options: Options {
            concurrency: usize::try_from(settings.required(&CONCURRENCY)).unwrap_or(usize::MAX),
            tries: settings.required(&STEP_TRIES),
            backoff: Duration::from_secs(1),
            watch: Duration::from_secs(1),
            artifacts_kept: settings.required(&ARTIFACT_DAYS),
        },
        sweep_idle: settings.required(&SWEEP_IDLE),
        artifact_sweep: settings.required(&ARTIFACT_SWEEP),
        patience: (grace - lame_duck).saturating_sub(END_MARGIN),
    }
}

fn read_addresses(settings: &mut Settings) -> Addresses {
    let git_limit = settings.required(&GIT_CLONE_TIMEOUT) + settings.required(&GIT_OPERATION_TIMEOUT) * 2;
    Addresses {
        repository: settings.required(&REPOSITORY_SERVICE_URL),
        git: settings.required(&GIT_SERVICE_URL),
        llm: settings.required(&LLM_ORCHESTRATOR_URL),
        sandbox: settings.required(&SANDBOX_MANAGER_URL),
        git_limit,
        llm_limit: settings.required(&LLM_TIMEOUT),
        sandbox_limit: settings.required(&SANDBOX_TIMEOUT) + SANDBOX_MARGIN,
        objects: StoreAddress {
            endpoint: settings.required(&STORE_ENDPOINT),
            region: settings.required(&STORE_REGION),
            bucket: settings.required(&STORE_BUCKET),
            access_key: settings.required(&ACCESS_KEY),
            secret_key: settings.required(&SECRET_KEY),
        },
    }
}
