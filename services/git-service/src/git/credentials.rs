//! Credentials by name, and their way to git.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use feature_api::RepositoryUrl;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;
use thiserror::Error;

use super::askpass::Answers;
use crate::failure::{Failure, Reason};

/// The secret is not what it should be; says nothing of what is in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("GIT_CREDENTIALS is not a JSON object of credentials")]
pub(crate) struct CredentialsError;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    ssh_key: Option<String>,
    /// Hosts that it may be shown to; any, if there are none.
    #[serde(default)]
    hosts: Vec<String>,
}

#[derive(Clone)]
enum Credential {
    Password { username: String, password: String },
    Key(String),
}

/// All credentials; `Debug` shows their number only.
#[derive(Clone)]
pub(crate) struct Credentials(BTreeMap<String, (Credential, Vec<String>)>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.0.len())
    }
}

impl Credentials {
    /// Reads `{"name": {"username", "password", "hosts"?}, "other": {"ssh_key", "hosts"?}}`.
    ///
    /// # Errors
    /// [`CredentialsError`] if it is something else.
    pub(crate) fn parse(text: &str) -> Result<Self, CredentialsError> {
        let entries: BTreeMap<String, Entry> = serde_json::from_str(text).map_err(|_| CredentialsError)?;
        let one_line = |text: &str| !text.chars().any(char::is_control);
        let read = |entry: Entry| match entry {
            Entry { username: Some(username), password: Some(password), ssh_key: None, hosts }
                if one_line(&username) && one_line(&password) =>
            {
                Ok((Credential::Password { username, password }, hosts))
            }
            Entry { username: None, password: None, ssh_key: Some(key), hosts } => {
                // A key that lost its last line break on its way is refused by ssh.
                Ok((Credential::Key(format!("{}\n", key.trim_end())), hosts))
            }
            _ => Err(CredentialsError),
        };
        entries.into_iter().map(|(name, entry)| Ok((name, read(entry)?))).collect::<Result<_, _>>().map(Self)
    }

    /// Prepares the way to a repository, with the credential of this name.
    ///
    /// # Errors
    /// [`Failure`] if there is no such credential, or it is not for this repository.
    pub(crate) fn access(&self, url: &RepositoryUrl, name: Option<&str>) -> Result<Access, Failure> {
        let Some(name) = name else { return Ok(Access { secrets: Vec::new(), file: None }) };
        let refused = |why: &str| Failure::new(Reason::Authentication, format!("the credential {name:?} {why}"));
        let (credential, hosts) = self.0.get(name).ok_or_else(|| refused("does not exist"))?;
        let host = url.host();
        if !hosts.is_empty() && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return Err(refused(&format!("is not for {host}")));
        }
        let over_ssh = url.as_str().starts_with("ssh:");
        let over_http = url.as_str().starts_with("http");
        let (text, kind, secrets) = match credential {
            Credential::Password { username, password } if over_http => {
                let answers = Answers { url: url.to_string(), username: username.clone(), password: password.clone() };
                let text = serde_json::to_string(&answers).map_err(|error| Failure::internal("failed to prepare a credential", &error))?;
                (text, Way::Password, vec![password.clone()])
            }
            Credential::Key(key) if over_ssh => (key.clone(), Way::Key, vec![key.clone()]),
            Credential::Password { .. } => return Err(refused("is a password, which https:// takes")),
            Credential::Key(_) => return Err(refused("is a key, which ssh:// takes")),
        };
        let file = in_memory(&text).map_err(|error| Failure::internal("failed to prepare a credential", &error))?;
        Ok(Access { secrets, file: Some((kind, file)) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Password,
    Key,
}

/// The way to one repository; a credential is readable by git as long as this lives.
pub(crate) struct Access {
    secrets: Vec<String>,
    file: Option<(Way, File)>,
}

impl Access {
    /// Returns what must not appear in any text.
    pub(crate) fn secrets(access: Option<&Self>) -> Vec<&str> {
        access.iter().flat_map(|access| access.secrets.iter().map(String::as_str)).collect()
    }

    /// Returns the path of the file with answers for askpass.
    pub(crate) fn password_file(&self) -> Option<String> {
        self.path(Way::Password)
    }

    /// Returns the path of the file with the key for ssh.
    pub(crate) fn key_file(&self) -> Option<String> {
        self.path(Way::Key)
    }

    fn path(&self, way: Way) -> Option<String> {
        let (_, file) = self.file.as_ref().filter(|(kind, _)| *kind == way)?;
        Some(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
    }
}

/// Makes a file that has no name, is on no disk and is gone with the process.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"credential", MFdFlags::MFD_CLOEXEC)?);
    // ssh refuses keys that others can read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use feature_api::UrlRules;

    use super::*;

    const TEXT: &str =
        r#"{"web": {"username": "u", "password": "canary-1", "hosts": ["git.example.com"]}, "key": {"ssh_key": "canary-2"}}"#;

    fn access(url: &str, name: Option<&str>) -> Result<Access, Failure> {
        let rules = UrlRules { schemes: "https,ssh".parse().unwrap(), loopback: false };
        Credentials::parse(TEXT).unwrap().access(&RepositoryUrl::parse(url, &rules).unwrap(), name)
    }

    #[test]
    fn a_credential_goes_only_where_it_belongs() {
        assert!(access("https://git.example.com/a", Some("web")).is_ok());
        assert!(access("ssh://git@any.example.com/a", Some("key")).is_ok());
        assert!(access("https://any.example.com/a", None).unwrap().password_file().is_none());
        for (url, name, message) in [
            ("https://evil.example.com/a", "web", "the credential \"web\" is not for evil.example.com"),
            ("ssh://git@git.example.com/a", "web", "the credential \"web\" is a password, which https:// takes"),
            ("https://git.example.com/a", "key", "the credential \"key\" is a key, which ssh:// takes"),
            ("https://git.example.com/a", "none", "the credential \"none\" does not exist"),
        ] {
            assert_eq!(access(url, Some(name)).err().unwrap().message, message);
        }
    }

    #[test]
    fn a_credential_is_readable_by_its_path_and_gone_with_its_use() {
        let access = access("https://git.example.com/a", Some("web")).unwrap();
        let path = access.password_file().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("canary-1"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(access);
        assert!(std::fs::read_to_string(&path).is_err());
    }

    #[test]
    fn openssh_takes_a_key_from_memory_also_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "c", "-f"]).arg(&file).status();
        assert!(made.expect("OpenSSH is needed: apt install openssh-client").success());
        let key = std::fs::read_to_string(&file).unwrap();
        let text = serde_json::json!({"key": {"ssh_key": key.trim_end()}}).to_string();
        let rules = UrlRules { schemes: "ssh".parse().unwrap(), loopback: false };
        let url = RepositoryUrl::parse("ssh://git@any.example.com/a", &rules).unwrap();
        let access = Credentials::parse(&text).unwrap().access(&url, Some("key")).unwrap();
        let output = Command::new("ssh-keygen").args(["-y", "-f"]).arg(access.key_file().unwrap()).output().unwrap();
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), public, "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn malformed_credentials_are_refused_without_being_shown() {
        for text in [
            "",
            "[]",
            r#"{"a": {}}"#,
            r#"{"a": {"username": "canary"}}"#,
            r#"{"a": {"username": "u", "password": "can\nary"}}"#,
            r#"{"a": {"username": "u", "password": "p", "ssh_key": "canary"}}"#,
            r#"{"a": {"username": "u", "password": "p", "other": "canary"}}"#,
        ] {
            assert_eq!(Credentials::parse(text).unwrap_err().to_string(), "GIT_CREDENTIALS is not a JSON object of credentials");
        }
        assert_eq!(format!("{:?}", Credentials::parse(TEXT).unwrap()), "Credentials(2)");
    }
}
