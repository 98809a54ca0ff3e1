//! What the service is configured with.

use std::time::Duration;

use feature_api::{Schemes, UrlRules};
use feature_store::Keys;
use service_bus::{Topic, dead_letter_topic, event_topic};
use service_kit::variables::{
    DATABASE_POOL_SIZE, DATABASE_URL, DAYS, EVENT_BUS_BROKERS, EVENT_BUS_PARTITION_COUNT, EVENT_BUS_REPLICATION, EVENT_BUS_TOPIC_PREFIX,
    SECONDS, SECRET, TEXT, UPSTREAM,
};
use service_kit::{DatabaseUrl, Kind, Secret, Settings, Upstream, Variable};

use crate::archive::Age;
use crate::migrate::Limits;

const SCHEMES: Kind<Schemes> = Kind { expected: "schemes like https,ssh", parse: |text| text.parse().ok() };
const SWITCH: Kind<bool> = Kind { expected: "true or false", parse: |text| text.parse().ok() };
const KEY: Kind<Secret<String>> =
    Kind { expected: "32 bytes in base64", parse: |text| Keys::check_token(text).is_ok().then(|| Secret::new(text.to_owned())) };

const CONNECT_TIMEOUT: Variable<Duration> =
    Variable::new("MIGRATE_CONNECT_TIMEOUT_SECONDS", &SECONDS, "how long `--migrate` waits for the database to answer").or("60");
const LOCK_TIMEOUT: Variable<Duration> =
    Variable::new("MIGRATE_LOCK_TIMEOUT_SECONDS", &SECONDS, "how long `--migrate` waits for another one to end").or("120");
const ENCRYPTION_KEY: Variable<Secret<String>> =
    Variable::new("DEK_ACTIVE_ENCRYPTION_TOKEN", &KEY, "key that instructions are encrypted with; `--migrate` needs none").secret();
const LOOKUP_KEY: Variable<Secret<String>> =
    Variable::new("DEK_LOOKUP_TOKEN", &KEY, "key that instructions are looked up by; `--migrate` needs none").secret();
const ALLOWED_SCHEMES: Variable<Schemes> =
    Variable::new("ALLOWED_URL_SCHEMES", &SCHEMES, "schemes of repository URLs that are allowed").or("https,ssh");
const ALLOW_LOOPBACK: Variable<bool> =
    Variable::new("ALLOW_LOOPBACK_URLS", &SWITCH, "whether repository URLs may name this machine, then by http and git too").or("false");
const HEARTBEAT: Variable<Duration> =
    Variable::new("WATCH_HEARTBEAT_SECONDS", &SECONDS, "how often those who watch are sent a sign of life").or("15");
const ARCHIVE_AFTER: Variable<Duration> =
    Variable::new("ARCHIVE_AFTER_DAYS", &DAYS, "how long a feature that has ended stays among the others before it moves to the archive")
        .or("90");
const ARCHIVE_EVERY: Variable<Duration> =
    Variable::new("ARCHIVE_INTERVAL_SECONDS", &SECONDS, "how often features are looked for that are to move to the archive").or("3600");
const STORE_ENDPOINT: Variable<Upstream> = Variable::new("OBJECT_STORE_ENDPOINT", &UPSTREAM, "the object store, if it is not AWS's own");
const STORE_PUBLIC_ENDPOINT: Variable<Upstream> =
    Variable::new("OBJECT_STORE_PUBLIC_ENDPOINT", &UPSTREAM, "where clients reach the object store, if not at `OBJECT_STORE_ENDPOINT`");
const STORE_BUCKET: Variable<String> = Variable::new("OBJECT_STORE_BUCKET", &TEXT, "bucket of the artifacts; without it they have no URLs");
const STORE_REGION: Variable<String> = Variable::new("OBJECT_STORE_REGION", &TEXT, "region of the bucket").or("us-east-1");
const ACCESS_KEY: Variable<Secret<String>> = Variable::new("AWS_ACCESS_KEY_ID", &SECRET, "who signs the artifacts' URLs").secret();
const SECRET_KEY: Variable<Secret<String>> =
    Variable::new("AWS_SECRET_ACCESS_KEY", &SECRET, "key that the artifacts' URLs are signed with").secret();

/// What the service is configured with.
pub(crate) struct Config {
    pub(crate) database: DatabaseUrl,
    pub(crate) pool_size: u32,
    pub(crate) limits: Limits,
    pub(crate) tokens: (Option<Secret<String>>, Option<Secret<String>>),
    pub(crate) brokers: Option<Vec<String>>,
    pub(crate) topic_prefix: String,
    pub(crate) urls: UrlRules,
    pub(crate) heartbeat: Duration,
    pub(crate) archive: Age,
    pub(crate) store: Option<ObjectStore>,
    /// Of the event topic, where it is to be made.
    pub(crate) partitions: u32,
    pub(crate) replication: Option<u32>,
}

impl Config {
    /// Returns the topics that must be there.
    pub(crate) fn topics(&self) -> [Topic; 2] {
        let (prefix, replication) = (&self.topic_prefix, self.replication);
        [
            Topic { name: event_topic(prefix), partitions: self.partitions, replication },
            // Few records, and their order is nobody's.
            Topic { name: dead_letter_topic(prefix), partitions: 1, replication },
        ]
    }
}

/// Where artifacts are, and who signs their URLs.
pub(crate) struct ObjectStore {
    pub(crate) endpoint: Option<String>,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) access_key: Secret<String>,
    pub(crate) secret_key: Secret<String>,
}

pub(crate) fn read(settings: &mut Settings) -> Config {
    Config {
        database: settings.required(&DATABASE_URL),
        pool_size: settings.required(&DATABASE_POOL_SIZE),
        limits: Limits { connect: settings.required(&CONNECT_TIMEOUT), lock: settings.required(&LOCK_TIMEOUT) },
        tokens: (settings.optional(&ENCRYPTION_KEY), settings.optional(&LOOKUP_KEY)),
        brokers: settings.optional(&EVENT_BUS_BROKERS),
        topic_prefix: settings.required(&EVENT_BUS_TOPIC_PREFIX),
        urls: UrlRules { schemes: settings.required(&ALLOWED_SCHEMES), loopback: settings.required(&ALLOW_LOOPBACK) },
        heartbeat: settings.required(&HEARTBEAT).max(Duration::from_secs(1)),
        archive: Age { after: settings.required(&ARCHIVE_AFTER), every: settings.required(&ARCHIVE_EVERY) },
        store: read_store(settings),
        partitions: settings.required(&EVENT_BUS_PARTITION_COUNT),
        replication: settings.optional(&EVENT_BUS_REPLICATION),
    }
}

fn read_store(settings: &mut Settings) -> Option<ObjectStore> {
    let (inside, public) = (settings.optional(&STORE_ENDPOINT), settings.optional(&STORE_PUBLIC_ENDPOINT));
    let (bucket, region) = (settings.optional(&STORE_BUCKET), settings.required(&STORE_REGION));
    let (access_key, secret_key) = (settings.optional(&ACCESS_KEY), settings.optional(&SECRET_KEY));
    let endpoint = public.or(inside).map(|endpoint| endpoint.to_string());
    Some(ObjectStore { endpoint, bucket: bucket?, region, access_key: access_key?, secret_key: secret_key? })
}
