//! Who pushes to a registry, from the text of a docker `config.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::ImageError;

/// User name and password (or token) for one registry; `Debug` shows neither.
#[derive(Clone)]
pub struct RegistryCredentials {
    pub(super) user: String,
    pub(super) password: Zeroizing<String>,
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryCredentials(hidden)")
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl RegistryCredentials {
    /// Makes credentials from a user name and a password or token.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: Zeroizing::new(password.into()) }
    }

    /// Takes the entry of `registry` (as in `registry.example.com:5000`) out of the text of a docker `config.json`.
    ///
    /// Returns none if there is no entry, or an empty one as a credential helper leaves it: helpers are programs and not run.
    ///
    /// # Errors
    /// [`ImageError::Credentials`] says which part is malformed and never shows it.
    pub fn from_docker_config(json: &str, registry: &str) -> Result<Option<Self>, ImageError> {
        let unusable = |reason| ImageError::Credentials { registry: registry.to_owned(), reason };
        // The parser's message could quote the file, so it is dropped.
        let config: DockerConfig =
            serde_json::from_str(json).map_err(|_| unusable("config.json is not JSON of the form {\"auths\": {...}}"))?;
        let host = |key: &str| {
            let bare = key.trim_start_matches("https://").trim_start_matches("http://");
            bare.split('/').next().is_some_and(|host| host == registry)
        };
        let Some((_, entry)) = config.auths.into_iter().find(|(key, _)| host(key)) else {
            return Ok(None);
        };
        if !entry.auth.is_empty() {
            let decoded = STANDARD.decode(entry.auth.as_bytes()).map_err(|_| unusable("`auth` is not base64"))?;
            let text = String::from_utf8(decoded).map_err(|_| unusable("`auth` is not text"))?;
            let text = Zeroizing::new(text);
            let (user, password) = text.split_once(':').ok_or(unusable("`auth` is not user:password"))?;
            return Ok(Some(Self::new(user, password)));
        }
        let named = !entry.username.is_empty() && !entry.password.is_empty();
        Ok(named.then(|| Self::new(entry.username, entry.password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"auths": {
        "registry.example.com:5000": {"auth": "dXNlcjpwOnc="},
        "https://index.example.com/v1/": {"username": "ci", "password": "tok"},
        "helped.example.com": {},
        "broken.example.com": {"auth": "!"}
    }, "credsStore": "desktop"}"#;

    #[test]
    fn entries_are_found_by_host() {
        for (registry, expected) in [
            ("registry.example.com:5000", Some(("user", "p:w"))),
            ("index.example.com", Some(("ci", "tok"))),
            ("helped.example.com", None),
            ("registry.example.com", None),
        ] {
            let found = RegistryCredentials::from_docker_config(CONFIG, registry).unwrap();
            let pair = found.as_ref().map(|found| (found.user.as_str(), found.password.as_str()));
            assert_eq!(pair, expected, "{registry}");
        }
    }

    #[test]
    fn malformed_entries_are_refused_without_showing_them() {
        let broken = RegistryCredentials::from_docker_config(CONFIG, "broken.example.com").unwrap_err();
        assert!(broken.to_string().contains("`auth` is not base64"));
        let text = RegistryCredentials::from_docker_config("{\"auths\": s3cret", "x").unwrap_err();
        assert!(!format!("{text} {text:?}").contains("s3cret"));
        let shown = format!("{:?}", RegistryCredentials::new("ci", "s3cret"));
        assert!(!shown.contains("s3cret"));
    }
}
