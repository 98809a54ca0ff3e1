//! Where an image is pushed to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::ImageError;

/// A place in a registry: `registry/repository[:tag]`.
///
/// The registry is always written out (`127.0.0.1:5000/feature-service`): there is no default registry to push to by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and optional port, as in `registry.example.com:5000`.
    pub registry: String,
    /// Path of the repository, without a leading slash.
    pub repository: String,
    /// Tag to move to the image; without one the image is reachable by digest only.
    pub tag: Option<String>,
}

impl Reference {
    /// Returns `registry/repository`, the name that the lock file stores beside the digest.
    pub fn image(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Tells whether the registry is on this machine, which is reached over plain HTTP.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let invalid = |reason| ImageError::InvalidReference { text: text.to_owned(), reason };
        let (registry, path) = text.split_once('/').ok_or(invalid("expected registry/repository[:tag]"))?;
        if !valid_registry(registry) {
            return Err(invalid("the part before the first `/` must be a registry: a name with a dot or a port, or localhost"));
        }
        if path.contains('@') {
            return Err(invalid("a digest can't be pushed to; name a tag or nothing"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !repository.split('/').all(valid_component) {
            return Err(invalid("repository names are lower-case letters, digits and single `.`, `_`, `-` between them"));
        }
        if !tag.is_none_or(valid_tag) {
            return Err(invalid("a tag is at most 128 letters, digits, `.`, `_`, `-` and starts with none of `.` and `-`"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag: tag.map(str::to_owned) })
    }
}

fn valid_registry(text: &str) -> bool {
    let characters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    characters && !text.starts_with(['.', '-', ':']) && (text.contains(['.', ':']) || text == "localhost")
}

fn valid_component(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(byte));
    edge(bytes.first()) && edge(bytes.last()) && inner && !text.contains("..")
}

fn valid_tag(text: &str) -> bool {
    let characters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (1..=128).contains(&text.len()) && characters && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written_back() {
        for (text, registry, repository, tag) in [
            ("127.0.0.1:5000/feature-service", "127.0.0.1:5000", "feature-service", None),
            ("registry.example.com/team/api-gateway:v1.2.0", "registry.example.com", "team/api-gateway", Some("v1.2.0")),
            ("localhost/x:dev", "localhost", "x", Some("dev")),
            ("[::1]:5000/x", "[::1]:5000", "x", None),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.registry.as_str(), reference.repository.as_str()), (registry, repository));
            assert_eq!(reference.tag.as_deref(), tag);
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn malformed_references_are_refused() {
        let digest = format!("127.0.0.1:5000/x@sha256:{}", "0".repeat(64));
        for text in ["", "x", "team/x", "a.b/", "a.b/X", "a.b/x:", "a.b/x:-v", "a.b/x/../y", "a.b/x y", ".a.b/x", digest.as_str()] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn only_registries_on_this_machine_are_loopback() {
        for (text, loopback) in [
            ("127.0.0.1:5000/x", true),
            ("127.1.2.3/x", true),
            ("localhost:5000/x", true),
            ("[::1]:5000/x", true),
            ("10.0.0.1:5000/x", false),
            ("127.0.0.1.example.com/x", false),
            ("registry.example.com/x", false),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
