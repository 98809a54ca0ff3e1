//! URLs of repositories, as people send them: checked by their text alone before anything reaches git, a shell or a resolver.
//!
//! Everything that is not known to be harmless is refused: what git reads as an option (`-x`), as a program (`ext::`), as a file
//! (`file://`, `/path`), a password, and whatever two readers could understand differently. Errors never repeat the URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Longest URL, in bytes.
const LONGEST: usize = 2048;
/// Longest host name and longest label of one, in bytes (RFC 1035).
const LONGEST_HOST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A way to reach a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP over TLS.
    Https,
    /// SSH.
    Ssh,
    /// HTTP in clear.
    Http,
    /// Git's own protocol, in clear and without a proof of identity.
    Git,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Https, Self::Ssh, Self::Http, Self::Git];

    /// Returns the scheme's name, which is also that of git's protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::Http => "http",
            Self::Git => "git",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

/// Which URLs are taken.
///
/// The schemes of the list are taken for any host but this machine. This machine's own addresses are taken only if `loopback` says
/// so, then by `http` and `git` too, whatever the list says. Link-local addresses are never taken: clouds serve credentials there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlRules {
    /// Schemes for any other host.
    pub schemes: Schemes,
    /// Whether this machine may be reached.
    pub loopback: bool,
}

/// A list of schemes; written `https,ssh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemes(Vec<Scheme>);

impl Schemes {
    /// Tells whether a scheme is in the list.
    pub fn contain(&self, scheme: Scheme) -> bool {
        self.0.contains(&scheme)
    }
}

impl FromStr for Schemes {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let schemes: Option<Vec<Scheme>> = text.split(',').map(|name| Scheme::of(name.trim())).collect();
        schemes.map(Self).ok_or(UrlError::Scheme)
    }
}

/// Why a URL is not taken; holds nothing of the URL itself, which may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// Too long.
    #[error("the repository's URL is longer than {LONGEST} bytes")]
    Length,
    /// A character that has no place in a URL.
    #[error("the repository's URL holds a character that it may not hold")]
    Character,
    /// No `scheme://`.
    #[error("the repository's URL must be like https://host/path or ssh://git@host/path")]
    Form,
    /// Another scheme than those of the list.
    #[error("the scheme of the repository's URL is not allowed")]
    Scheme,
    /// A password or a token.
    #[error("the repository's URL may not hold a user or a password; a credential is named in the repository's settings")]
    Password,
    /// Not a host's name or address.
    #[error("the host of the repository's URL is not a host's name or address")]
    Host,
    /// This machine, or an address that is never taken.
    #[error("the host of the repository's URL may not be reached")]
    Address,
    /// Not a port.
    #[error("the port of the repository's URL is not a number from 1 to 65535")]
    Port,
    /// Not a path.
    #[error("the path of the repository's URL is not the path of a repository")]
    Path,
}

/// A repository's URL that is allowed.
///
/// Invariants: ASCII without white space; begins with its scheme; holds no password, query or fragment, and a user only with `ssh`;
/// neither user, host nor path begins with `-`; no segment of the path is `.` or `..`. Scheme and host are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryUrl {
    text: String,
    host: String,
}

impl RepositoryUrl {
    /// Reads a URL and checks it against the rules.
    ///
    /// # Errors
    /// [`UrlError`] with the first thing that is wrong.
    pub fn parse(text: &str, rules: &UrlRules) -> Result<Self, UrlError> {
        if text.len() > LONGEST {
            return Err(UrlError::Length);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@%+,=!$&'()*;[]".contains(&byte);
        if !text.bytes().all(plain) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Form)?;
        let scheme = Scheme::of(scheme).ok_or(UrlError::Scheme)?;
        let (authority, path) = rest.split_once('/').ok_or(UrlError::Path)?;
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (check_user(user, scheme).map(|()| format!("{user}@"))?, place),
            None => (String::new(), authority),
        };
        let (host, port) = split_port(place)?;
        let host = host.to_ascii_lowercase();
        check_place(&host, scheme, rules)?;
        check_path(path)?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { text: format!("{}://{user}{host}{port}/{path}", scheme.name()), host })
    }

    /// Returns the URL; safe as an operand of `git` after `--`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_user(user: &str, scheme: Scheme) -> Result<(), UrlError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // With the other schemes the user alone may be a token.
    match scheme {
        Scheme::Ssh if !user.is_empty() && !user.starts_with('-') && user.bytes().all(plain) => Ok(()),
        _ => Err(UrlError::Password),
    }
}

fn split_port(place: &str) -> Result<(&str, Option<u16>), UrlError> {
    let host_end = if place.starts_with('[') { place.find(']').ok_or(UrlError::Host)? + 1 } else { place.find(':').unwrap_or(place.len()) };
    let (host, port) = place.split_at(host_end);
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').ok_or(UrlError::Host)?;
    let port = digits.parse().ok().filter(|port: &u16| *port > 0 && digits == port.to_string());
    port.map(|port| (host, Some(port))).ok_or(UrlError::Port)
}

/// Where a host is, as far as its text says.
#[derive(PartialEq, Eq)]
enum Place {
    Loopback,
    Elsewhere,
    Never,
}

fn check_place(host: &str, scheme: Scheme, rules: &UrlRules) -> Result<(), UrlError> {
    match place_of(host)? {
        Place::Never => Err(UrlError::Address),
        Place::Loopback if !rules.loopback => Err(UrlError::Address),
        Place::Loopback if matches!(scheme, Scheme::Http | Scheme::Git) => Ok(()),
        Place::Loopback | Place::Elsewhere if rules.schemes.contain(scheme) => Ok(()),
        Place::Loopback | Place::Elsewhere => Err(UrlError::Scheme),
    }
}

fn place_of(host: &str) -> Result<Place, UrlError> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().map(|address| place_of_address(IpAddr::V6(address))).map_err(|_| UrlError::Host);
    }
    if host.is_empty() || host.len() > LONGEST_HOST || !host.split('.').all(is_label) {
        return Err(UrlError::Host);
    }
    // Resolvers read `127.1`, `2130706433` and `0x7f.1` as addresses too: what ends like a number must be an address as it is usually written.
    let ends_as_number =
        host.rsplit('.').next().is_some_and(|label| label.starts_with("0x") || label.bytes().all(|byte| byte.is_ascii_digit()));
    if ends_as_number {
        return host.parse::<Ipv4Addr>().map(|address| place_of_address(IpAddr::V4(address))).map_err(|_| UrlError::Host);
    }
    Ok(if host == "localhost" || host.ends_with(".localhost") { Place::Loopback } else { Place::Elsewhere })
}

fn place_of_address(address: IpAddr) -> Place {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    match address {
        _ if address.is_loopback() => Place::Loopback,
        _ if link_local || address.is_unspecified() || address.is_multicast() => Place::Never,
        _ => Place::Elsewhere,
    }
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
}

/// Checks a path without its leading slash.
fn check_path(path: &str) -> Result<(), UrlError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let good = |segment: &str| {
        let decoded = decode(segment);
        decoded.is_some_and(|decoded| {
            !decoded.is_empty()
                && decoded != b"."
                && decoded != b".."
                && !decoded.iter().any(|byte| byte.is_ascii_control() || b"/\\".contains(byte))
        })
    };
    // `ssh://host/-x` is an option to a program on the other side.
    if trimmed.starts_with('-') || trimmed.starts_with('%') || !trimmed.split('/').all(good) {
        return Err(UrlError::Path);
    }
    Ok(())
}

/// Replaces `%41` by `A`; none if a percent sign is not followed by two hexadecimal digits.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        let high = digit()?;
        decoded.push(high * 16 + digit()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests;
