//! The variables of the platform's configuration that more than one service reads, under the names of the deployment guide.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Kind, Variable};
use crate::database::DatabaseUrl;
use crate::secret::Secret;
use crate::telemetry::{LogFormat, LogLevel};
use crate::upstream::Upstream;

/// Any text without line breaks.
pub const TEXT: Kind<String> =
    Kind { expected: "a text of one line", parse: |text| (!text.chars().any(char::is_control)).then(|| text.to_owned()) };
/// An absolute path.
pub const PATH: Kind<String> = Kind { expected: "an absolute path", parse: |text| text.starts_with('/').then(|| text.to_owned()) };
/// A TCP port.
pub const PORT: Kind<u16> = Kind { expected: "a port number from 0 to 65535 (0 takes a free one)", parse: |text| text.parse().ok() };
/// A number of whole seconds.
pub const SECONDS: Kind<Duration> = Kind {
    expected: "a number of seconds from 0 to 86400",
    parse: |text| text.parse().ok().filter(|seconds| *seconds <= 86_400).map(Duration::from_secs),
};
/// A number of whole days that is not zero.
pub const DAYS: Kind<Duration> = Kind {
    expected: "a number of days from 1 to 36500",
    parse: |text| text.parse().ok().filter(|days| (1..=36_500).contains(days)).map(|days: u64| Duration::from_secs(days * 86_400)),
};
/// A whole number that is not zero.
pub const COUNT: Kind<u32> =
    Kind { expected: "a whole number from 1 to 4294967295", parse: |text| text.parse().ok().filter(|count| *count > 0) };
/// A number above zero, with or without a fraction.
pub const AMOUNT: Kind<f64> =
    Kind { expected: "a number above 0", parse: |text| text.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount > 0.0) };
/// Base URL of another service.
pub const UPSTREAM: Kind<Upstream> = Kind { expected: "a URL like http://feature-service:80", parse: Upstream::parse };
/// A secret text.
pub const SECRET: Kind<Secret<String>> = Kind { expected: "a secret text", parse: |text| Some(Secret::new(text.to_owned())) };

const COLLECTOR: Kind<Upstream> = Kind {
    expected: "a URL like http://otel-collector:4317, without TLS",
    parse: |text| Upstream::parse(text).filter(|_| text.starts_with("http://")),
};
const ADDRESS: Kind<Option<IpAddr>> = Kind { expected: "an IP address", parse: |text| text.parse().ok().map(Some) };
const BROKERS: Kind<Vec<String>> = Kind { expected: "host:port, several separated by commas", parse: parse_brokers };
const DATABASE: Kind<DatabaseUrl> = Kind { expected: "a URL like postgres://user:password@host:5432/database", parse: DatabaseUrl::parse };
const LEVEL: Kind<LogLevel> = Kind { expected: "trace, debug, info, warn or error", parse: LogLevel::parse };
const FORMAT: Kind<LogFormat> = Kind { expected: "json or text", parse: LogFormat::parse };

fn parse_brokers(text: &str) -> Option<Vec<String>> {
    let valid = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    let brokers: Vec<String> = text.split(',').map(|broker| broker.trim().to_owned()).collect();
    brokers.iter().all(|broker| valid(broker)).then_some(brokers)
}

/// Least severe level that is logged.
pub const LOG_LEVEL: Variable<LogLevel> = Variable::new("LOG_LEVEL", &LEVEL, "least severe level that is logged").or("info");
/// Form of the log's lines.
pub const LOG_FORMAT: Variable<LogFormat> = Variable::new("LOG_FORMAT", &FORMAT, "form of the log's lines").or("json");
/// Address that all ports are opened on.
pub const BIND_ADDRESS: Variable<Option<IpAddr>> =
    Variable::new("BIND_ADDRESS", &ADDRESS, "address that all ports are opened on").or("0.0.0.0");
/// Port of the service's own interface.
pub const HTTP_PORT: Variable<u16> = Variable::new("HTTP_PORT", &PORT, "port of the service's own interface").or("8080");
/// Port of health and metrics.
pub const METRICS_PORT: Variable<u16> = Variable::new("METRICS_PORT", &PORT, "port of `/healthz`, `/readyz` and `/metrics`").or("9090");
/// Longest time from the signal to the exit.
pub const SHUTDOWN_GRACE: Variable<Duration> =
    Variable::new("SHUTDOWN_GRACE_SECONDS", &SECONDS, "longest time from SIGTERM to the exit; keep it below the pod's grace period")
        .or("25");
/// Time in which a service that stops still takes requests.
pub const SHUTDOWN_LAME_DUCK: Variable<Duration> =
    Variable::new("SHUTDOWN_LAME_DUCK_SECONDS", &SECONDS, "time after SIGTERM in which requests are still taken, until all clients know")
        .or("3");
/// Where traces go.
pub const OTLP_ENDPOINT: Variable<Upstream> =
    Variable::new("OTEL_EXPORTER_OTLP_ENDPOINT", &COLLECTOR, "where traces are sent, by OTLP over gRPC; nowhere if not set");

/// The PostgreSQL database.
pub const DATABASE_URL: Variable<DatabaseUrl> = Variable::new("DATABASE_URL", &DATABASE, "the PostgreSQL database").secret();
/// Size of the connection pool.
pub const DATABASE_POOL_SIZE: Variable<u32> =
    Variable::new("DATABASE_POOL_SIZE", &COUNT, "most connections to the database at a time").or("10");

/// Brokers of the event bus.
pub const EVENT_BUS_BROKERS: Variable<Vec<String>> = Variable::new("EVENT_BUS_BROKERS", &BROKERS, "brokers of the event bus");
/// First part of topic names.
pub const EVENT_BUS_TOPIC_PREFIX: Variable<String> =
    Variable::new("EVENT_BUS_TOPIC_PREFIX", &TEXT, "first part of the topics' names").or("feature");
/// Consumer group of the workers.
pub const EVENT_BUS_CONSUMER_GROUP: Variable<String> =
    Variable::new("EVENT_BUS_CONSUMER_GROUP", &TEXT, "consumer group of the workers").or("feature-workers");
/// Partitions of the event topic.
pub const EVENT_BUS_PARTITION_COUNT: Variable<u32> =
    Variable::new("EVENT_BUS_PARTITION_COUNT", &COUNT, "partitions of the event topic").or("64");
/// Copies of each partition.
pub const EVENT_BUS_REPLICATION: Variable<u32> = Variable::new(
    "EVENT_BUS_REPLICATION",
    &COUNT,
    "copies of each partition, where a topic is made because it is missing; the brokers' own number if not set",
);

/// Folder of working copies.
pub const GIT_WORKSPACE_BASE_PATH: Variable<String> =
    Variable::new("GIT_WORKSPACE_BASE_PATH", &PATH, "folder of the working copies").or("/var/feature/workspaces");
/// Longest time for a clone.
pub const GIT_CLONE_TIMEOUT: Variable<Duration> =
    Variable::new("GIT_CLONE_TIMEOUT_SECONDS", &SECONDS, "longest time for a clone").or("300");
/// Longest time for any other git operation.
pub const GIT_OPERATION_TIMEOUT: Variable<Duration> =
    Variable::new("GIT_OPERATION_TIMEOUT_SECONDS", &SECONDS, "longest time for any other git operation").or("60");

/// Name of the pod, for the log.
pub const POD_NAME: Variable<String> = Variable::new("POD_NAME", &TEXT, "name of the pod");
/// Address of the feature service.
pub const FEATURE_SERVICE_URL: Variable<Upstream> = Variable::new("FEATURE_SERVICE_URL", &UPSTREAM, "the feature service");
/// Address of the repository service.
pub const REPOSITORY_SERVICE_URL: Variable<Upstream> = Variable::new("REPOSITORY_SERVICE_URL", &UPSTREAM, "the repository service");
/// Address of the git service.
pub const GIT_SERVICE_URL: Variable<Upstream> = Variable::new("GIT_SERVICE_URL", &UPSTREAM, "the git service");
/// Address of the LLM orchestrator.
pub const LLM_ORCHESTRATOR_URL: Variable<Upstream> = Variable::new("LLM_ORCHESTRATOR_URL", &UPSTREAM, "the LLM orchestrator");
/// Address of the sandbox manager.
pub const SANDBOX_MANAGER_URL: Variable<Upstream> = Variable::new("SANDBOX_MANAGER_URL", &UPSTREAM, "the sandbox manager");
