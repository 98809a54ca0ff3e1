//! Other services that a service depends on.

use std::fmt;
use std::io;

use axum::http::Uri;
use tokio::net::TcpStream;

use crate::health::Check;

/// Base URL of another service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    url: String,
    host: String,
    port: u16,
}

impl Upstream {
    /// Reads an `http` or `https` URL; none for anything else, or one that holds a password.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let standard_port = match uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Some(Self { url: text.trim_end_matches('/').to_owned(), host, port: authority.port_u16().unwrap_or(standard_port) })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Makes a check that the service behind `upstream` accepts connections.
///
/// Not that it is ready itself: a chain of services that wait for each other's readiness would start slowly and fall as one.
pub fn upstream_check(name: &'static str, upstream: Upstream) -> Check {
    Check::new(name, move || {
        let upstream = upstream.clone();
        async move {
            let connected = TcpStream::connect((upstream.host.as_str(), upstream.port)).await;
            connected.map(drop).map_err(|error| format!("no connection to {upstream}: {}", cause(&error)))
        }
    })
}

fn cause(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "host unreachable",
        io::ErrorKind::TimedOut => "timed out",
        // Name resolution has no kind of its own.
        _ => "its name does not resolve, or the network refuses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_their_standard_port() {
        for (text, expected) in [
            ("http://feature-service", Some(("feature-service", 80))),
            ("http://127.0.0.1:8080/", Some(("127.0.0.1", 8080))),
            ("https://[::1]/x", Some(("::1", 443))),
            ("grpc://x", None),
            ("feature-service:80", None),
            ("http://user:password@x", None),
            ("", None),
        ] {
            let upstream = Upstream::parse(text);
            assert_eq!(upstream.as_ref().map(|upstream| (upstream.host.as_str(), upstream.port)), expected, "{text}");
        }
    }
}
