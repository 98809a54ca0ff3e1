//! What the gateway is configured with.

use std::time::Duration;

use service_kit::variables::{AMOUNT, COUNT, FEATURE_SERVICE_URL, REPOSITORY_SERVICE_URL, TEXT, UPSTREAM};
use service_kit::{Connections, Kind, Settings, Upstream, Variable};
use url::Url;

use crate::dashboard::Peer;
use crate::limit::Rate;
use crate::oidc::Issuer;

const MODE: Kind<Mode> = Kind { expected: "required or off", parse: Mode::parse };
const ISSUER: Kind<Option<Url>> = Kind {
    expected: "an https URL without user, query and fragment; http only to this machine",
    parse: |text| parse_issuer(text).map(Some),
};
const SWITCH: Kind<bool> = Kind {
    expected: "true or false",
    parse: |text| match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    },
};
const LIMIT: Kind<Duration> = Kind {
    expected: "a number of seconds from 1 to 3600",
    parse: |text| text.parse().ok().filter(|seconds| (1..=3600).contains(seconds)).map(Duration::from_secs),
};
const HOPS: Kind<usize> = Kind { expected: "a number from 0 to 10", parse: |text| text.parse().ok().filter(|hops| *hops <= 10) };
const BYTES: Kind<usize> = Kind { expected: "a number of bytes above 0", parse: |text| text.parse().ok().filter(|bytes| *bytes > 0) };
const HOSTS: Kind<Vec<String>> = Kind { expected: "host names separated by commas", parse: parse_hosts };
const PEERS: Kind<Vec<Peer>> = Kind { expected: "name=http://host:port, several separated by commas", parse: parse_peers };

const OIDC_MODE: Variable<Mode> =
    Variable::new("OIDC_MODE", &MODE, "whether clients need a bearer token; `off` is for one machine and for tests").or("required");
const OIDC_ISSUER: Variable<Option<Url>> =
    Variable::new("OIDC_ISSUER", &ISSUER, "who issues the tokens; needed unless `OIDC_MODE` is `off`");
const OIDC_CLIENT_ID: Variable<String> =
    Variable::new("OIDC_CLIENT_ID", &TEXT, "audience that tokens must be for; needed unless `OIDC_MODE` is `off`");
const OIDC_KEYS_SECONDS: Variable<Duration> =
    Variable::new("OIDC_KEYS_SECONDS", &LIMIT, "how often the issuer's keys are fetched").or("300");
const OIDC_ONE_TIME_TOKENS: Variable<bool> =
    Variable::new("OIDC_ONE_TIME_TOKENS", &SWITCH, "whether each token may be used once only, told by its `jti`").or("false");
const RATE_LIMIT_PER_SECOND: Variable<f64> =
    Variable::new("RATE_LIMIT_PER_SECOND", &AMOUNT, "requests a second that a client may send in the long run").or("100");
const RATE_LIMIT_BURST: Variable<u32> = Variable::new("RATE_LIMIT_BURST", &COUNT, "requests that a client may send at once").or("200");
const BODY_LIMIT_BYTES: Variable<usize> = Variable::new("BODY_LIMIT_BYTES", &BYTES, "most bytes of a request's body").or("52428800");
const REQUEST_TIMEOUT_SECONDS: Variable<Duration> =
    Variable::new("REQUEST_TIMEOUT_SECONDS", &LIMIT, "longest time for a request; streams of events are free of it").or("30");
const CONNECTION_LIMIT: Variable<u32> =
    Variable::new("CONNECTION_LIMIT", &COUNT, "most connections of clients at a time; one more is answered with 503 and closed").or("2000");
const HEAD_TIMEOUT_SECONDS: Variable<Duration> = Variable::new(
    "HEAD_TIMEOUT_SECONDS",
    &LIMIT,
    "longest time until the head of a connection's next request is there; more than a proxy in front keeps idle connections",
)
.or("65");
const TRUSTED_PROXY_HOPS: Variable<usize> = Variable::new(
    "TRUSTED_PROXY_HOPS",
    &HOPS,
    "proxies in front whose `X-Forwarded-For` is believed; the client is that many addresses from its right",
)
.or("0");
const ALLOWED_HOSTS: Variable<Vec<String>> = Variable::new(
    "ALLOWED_HOSTS",
    &HOSTS,
    "names under which the gateway may be asked while `OIDC_MODE` is `off`, beside addresses, `localhost` and names inside the cluster",
);
const DASHBOARD_SERVICES: Variable<Vec<Peer>> = Variable::new(
    "DASHBOARD_SERVICES",
    &PEERS,
    "services whose readiness the dashboard shows, each with the base URL of its `/readyz`; the two behind the gateway if not set",
);

/// Whether clients are asked who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Required,
    Off,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// The gateway's configuration.
pub(crate) struct Config {
    pub(crate) feature_service: Option<Upstream>,
    pub(crate) repository_service: Option<Upstream>,
    /// Who issues tokens; none if nobody is asked for one.
    pub(crate) issuer: Option<Issuer>,
    pub(crate) rate: Rate,
    pub(crate) body_limit: usize,
    pub(crate) timeout: Duration,
    pub(crate) connections: Connections,
    pub(crate) hops: usize,
    pub(crate) hosts: Vec<String>,
    pub(crate) peers: Vec<Peer>,
}

/// Reads the configuration.
pub(crate) fn read(settings: &mut Settings) -> Config {
    let feature_service = settings.optional(&FEATURE_SERVICE_URL);
    let repository_service = settings.optional(&REPOSITORY_SERVICE_URL);
    let behind = [("feature-service", &feature_service), ("repository-service", &repository_service)];
    let behind = behind.into_iter().filter_map(|(name, upstream)| Some(Peer { name: name.to_owned(), upstream: upstream.clone()? }));
    Config {
        peers: settings.optional(&DASHBOARD_SERVICES).unwrap_or_else(|| behind.collect()),
        feature_service,
        repository_service,
        issuer: read_issuer(settings),
        rate: Rate { per_second: settings.required(&RATE_LIMIT_PER_SECOND), burst: settings.required(&RATE_LIMIT_BURST) },
        body_limit: settings.required(&BODY_LIMIT_BYTES),
        timeout: settings.required(&REQUEST_TIMEOUT_SECONDS),
        connections: Connections { most: settings.required(&CONNECTION_LIMIT), head: settings.required(&HEAD_TIMEOUT_SECONDS) },
        hops: settings.required(&TRUSTED_PROXY_HOPS),
        hosts: settings.optional(&ALLOWED_HOSTS).unwrap_or_default(),
    }
}

/// Reads who issues tokens; it must be named unless nobody is asked for one.
fn read_issuer(settings: &mut Settings) -> Option<Issuer> {
    let mode = settings.required(&OIDC_MODE);
    let (url, audience) = match mode {
        Mode::Required => (settings.required(&OIDC_ISSUER), settings.required(&OIDC_CLIENT_ID)),
        Mode::Off => (settings.optional(&OIDC_ISSUER).flatten(), settings.optional(&OIDC_CLIENT_ID).unwrap_or_default()),
    };
    let keys_age = settings.required(&OIDC_KEYS_SECONDS);
    let one_time = settings.required(&OIDC_ONE_TIME_TOKENS);
    let url = url.filter(|_| mode == Mode::Required)?;
    Some(Issuer { url, audience, keys_age, one_time })
}

fn parse_issuer(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (plain && is_protected(&url)).then_some(url)
}

/// Tells whether nobody on the way can change what a URL answers.
pub(crate) fn is_protected(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn parse_hosts(text: &str) -> Option<Vec<String>> {
    let plain = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_ascii_lowercase()).collect();
    hosts.iter().all(plain).then_some(hosts)
}

fn parse_peers(text: &str) -> Option<Vec<Peer>> {
    let peer = |text: &str| {
        let (name, url) = text.trim().split_once('=')?;
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        Some(Peer { name: name.to_owned(), upstream: (UPSTREAM.parse)(url).filter(|_| plain)? })
    };
    text.split(',').map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Result<bool, &[&str]>) {
        let mut settings = Settings::new(variables.iter().copied());
        let config = read(&mut settings);
        let outcome = settings.finish(config).map(|config| config.issuer.is_some());
        let problems = outcome.map_err(|error| error.problems.iter().map(|problem| problem.variable).collect::<Vec<_>>());
        assert_eq!(problems, expected.map_err(<[&str]>::to_vec), "{variables:?}");
    }

    #[test]
    fn doing_without_tokens_must_be_said() {
        let issuer = ("OIDC_ISSUER", "https://id.example.com");
        check(&[], Err(&["OIDC_ISSUER", "OIDC_CLIENT_ID"]));
        check(&[issuer], Err(&["OIDC_CLIENT_ID"]));
        check(&[issuer, ("OIDC_CLIENT_ID", "feature")], Ok(true));
        check(&[issuer, ("OIDC_MODE", "off")], Ok(false));
        check(&[("OIDC_MODE", "OFF")], Err(&["OIDC_MODE", "OIDC_ISSUER", "OIDC_CLIENT_ID"]));
    }

    #[test]
    fn an_issuer_is_asked_over_tls_only() {
        for (text, usable) in [
            ("https://id.example.com/realms/feature", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://id.example.com", false),
            ("http://localhost.example.com", false),
            ("https://user:password@id.example.com", false),
            ("https://id.example.com?x=1", false),
            ("ftp://127.0.0.1", false),
            ("id.example.com", false),
        ] {
            assert_eq!(parse_issuer(text).is_some(), usable, "{text}");
        }
    }

    #[test]
    fn lists_are_read_whole_or_not_at_all() {
        assert_eq!(parse_hosts("Feature.example.com, b").unwrap(), ["feature.example.com", "b"]);
        assert_eq!(parse_hosts("a,,b"), None);
        assert_eq!(parse_peers("a=http://127.0.0.1:1,b=http://b").unwrap().len(), 2);
        for wrong in ["a", "=http://a", "a=ftp://a", "<b>=http://a"] {
            assert!(parse_peers(wrong).is_none(), "{wrong}");
        }
    }
}
