//! Configuration.

use std::path::PathBuf;
use std::time::Duration;

use feature_api::{Schemes, UrlRules};
use service_kit::variables::{COUNT, GIT_CLONE_TIMEOUT, GIT_OPERATION_TIMEOUT, GIT_WORKSPACE_BASE_PATH};
use service_kit::{Kind, Secret, Settings, Variable};

use crate::git::credentials::Credentials;

const SCHEMES: Kind<Schemes> = Kind { expected: "schemes like https,ssh", parse: |text| text.parse().ok() };
const SWITCH: Kind<bool> = Kind { expected: "true or false", parse: |text| text.parse().ok() };
/// Says that keys of unknown ssh hosts are remembered.
pub(crate) const ACCEPT_NEW: &str = "accept-new";
const HOST_KEYS: Kind<String> =
    Kind { expected: "yes or accept-new", parse: |text| ["yes", ACCEPT_NEW].contains(&text).then(|| text.to_owned()) };
// The path goes into a command that git gives to a shell.
const PLAIN_PATH: Kind<String> =
    Kind { expected: "an absolute path of letters, digits and /._-", parse: |text| is_plain_path(text).then(|| text.to_owned()) };
const NAME: Kind<String> = Kind {
    expected: "a text without <, > and line breaks",
    parse: |text| (!text.trim().is_empty() && !text.chars().any(|c| c.is_control() || "<>".contains(c))).then(|| text.to_owned()),
};
const CREDENTIALS: Kind<Secret<String>> = Kind {
    expected: r#"a JSON object like {"name": {"username": "...", "password": "..."}, "other": {"ssh_key": "..."}}"#,
    parse: |text| Credentials::parse(text).ok().map(|_| Secret::new(text.to_owned())),
};

const ALLOWED_SCHEMES: Variable<Schemes> =
    Variable::new("ALLOWED_URL_SCHEMES", &SCHEMES, "schemes of repository URLs that are allowed").or("https,ssh");
const ALLOW_LOOPBACK: Variable<bool> =
    Variable::new("ALLOW_LOOPBACK_URLS", &SWITCH, "whether repository URLs may name this machine").or("false");
const GIT_CREDENTIALS: Variable<Secret<String>> =
    Variable::new("GIT_CREDENTIALS", &CREDENTIALS, "credentials by name; a name is what requests say").or("{}").secret();
const CACHE_SIZE: Variable<u32> =
    Variable::new("GIT_CACHE_SIZE_MB", &COUNT, "size of all cached repositories, in MiB; those least used go first").or("10240");
const REPOSITORY_SIZE: Variable<u32> =
    Variable::new("GIT_REPOSITORY_SIZE_MB", &COUNT, "largest pack of a repository that is fetched, in MiB").or("4096");
const CONCURRENCY: Variable<u32> = Variable::new("GIT_MAX_PROCESSES", &COUNT, "git commands that run at a time").or("16");
const SSH_HOST_KEYS: Variable<String> =
    Variable::new("GIT_SSH_HOST_KEYS", &HOST_KEYS, "whether keys of unknown ssh hosts are refused or remembered").or("yes");
const SSH_KNOWN_HOSTS: Variable<String> =
    Variable::new("GIT_SSH_KNOWN_HOSTS", &PLAIN_PATH, "file with the keys of ssh hosts").or("/etc/ssh/ssh_known_hosts");
const CA_FILE: Variable<String> =
    Variable::new("GIT_SSL_CAINFO", &PLAIN_PATH, "file with certificates of authorities for https; the system's if not set");
const COMMITTER_NAME: Variable<String> = Variable::new("GIT_COMMITTER_NAME", &NAME, "name in the commits").or("Feature Platform");
const COMMITTER_EMAIL: Variable<String> =
    Variable::new("GIT_COMMITTER_EMAIL", &NAME, "address in the commits").or("feature-platform@localhost");

/// What the service is configured with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Folder of the cache.
    pub(crate) base: PathBuf,
    /// Longest time for the first fetch of a repository.
    pub(crate) clone_timeout: Duration,
    /// Longest time for any other git command.
    pub(crate) operation_timeout: Duration,
    /// Which URLs are taken.
    pub(crate) rules: UrlRules,
    /// Credentials, as JSON.
    pub(crate) credentials: Secret<String>,
    /// Size of the cache, in bytes.
    pub(crate) cache_size: u64,
    /// Size of the largest file of a repository, in bytes.
    pub(crate) repository_size: u64,
    /// Git commands at a time.
    pub(crate) concurrency: usize,
    /// Whether unknown ssh hosts are refused: `yes`, `accept-new`.
    pub(crate) ssh_host_keys: String,
    /// File with the keys of ssh hosts.
    pub(crate) ssh_known_hosts: String,
    /// File with certificates of authorities.
    pub(crate) ca_file: Option<String>,
    /// Name in the commits.
    pub(crate) committer_name: String,
    /// Address in the commits.
    pub(crate) committer_email: String,
}

/// Tells whether a path is absolute and a shell reads it as it is.
pub(crate) fn is_plain_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    text.starts_with('/') && text.bytes().all(plain)
}

/// Reads the variables.
pub(crate) fn read(settings: &mut Settings) -> Config {
    let schemes = settings.required(&ALLOWED_SCHEMES);
    Config {
        base: settings.required(&GIT_WORKSPACE_BASE_PATH).into(),
        clone_timeout: settings.required(&GIT_CLONE_TIMEOUT),
        operation_timeout: settings.required(&GIT_OPERATION_TIMEOUT),
        rules: UrlRules { schemes, loopback: settings.required(&ALLOW_LOOPBACK) },
        credentials: settings.required(&GIT_CREDENTIALS),
        cache_size: u64::from(settings.required(&CACHE_SIZE)) << 20,
        repository_size: u64::from(settings.required(&REPOSITORY_SIZE)) << 20,
        concurrency: usize::try_from(settings.required(&CONCURRENCY)).unwrap_or(usize::MAX),
        ssh_host_keys: settings.required(&SSH_HOST_KEYS),
        ssh_known_hosts: settings.required(&SSH_KNOWN_HOSTS),
        ca_file: settings.optional(&CA_FILE),
        committer_name: settings.required(&COMMITTER_NAME),
        committer_email: settings.required(&COMMITTER_EMAIL),
    }
}
