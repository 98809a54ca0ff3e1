//! The program `git`, run so that nothing but its arguments decides what it does.

pub(crate) mod askpass;
pub(crate) mod credentials;
pub(crate) mod launch;
mod run;
mod ssh;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use service_kit::BoxError;
use tokio::sync::Semaphore;

pub(crate) use self::run::{Call, Running};
use crate::failure::Failure;
use crate::settings::Config;

const SCHEMES: [feature_api::Scheme; 4] =
    [feature_api::Scheme::Https, feature_api::Scheme::Ssh, feature_api::Scheme::Http, feature_api::Scheme::Git];

/// Settings of git that stand above those of a repository.
const CONFIG: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.quotePath", "false"),
    ("core.symlinks", "false"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("push.recurseSubmodules", "no"),
    // A redirect would take the credential to another host.
    ("http.followRedirects", "false"),
    ("protocol.version", "2"),
    ("protocol.allow", "never"),
    ("safe.directory", "*"),
    ("transfer.fsckObjects", "true"),
    // Faults of old tools in the history of well-known repositories; harmless.
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.badTimezone", "ignore"),
    // A pack appears at once; single objects could appear without those that they refer to, and a crash would leave it so.
    ("fetch.unpackLimit", "1"),
    ("gc.autoDetach", "false"),
    ("gc.autoPackLimit", "50"),
    ("maintenance.autoDetach", "false"),
    ("tar.umask", "0022"),
];

/// Runs `git`; clones share the bound of processes.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    program: PathBuf,
    environment: Arc<Vec<(OsString, OsString)>>,
    ssh: Arc<str>,
    permits: Arc<Semaphore>,
    largest_file: u64,
    limit: Duration,
}

impl Git {
    /// Prepares to run it as the settings say.
    ///
    /// # Errors
    /// If the program's own file, which git starts to ask for credentials, can't be found, or ssh has no place for keys that it learns.
    pub(crate) fn new(config: &Config) -> Result<Self, BoxError> {
        let program = std::env::current_exe()?;
        let environment = environment(config, &program);
        let ssh = ssh::command(&config.ssh_host_keys, &config.ssh_known_hosts, &config.base)?;
        Ok(Self {
            program,
            environment: Arc::new(environment),
            ssh: ssh.into(),
            permits: Arc::new(Semaphore::new(config.concurrency.min(Semaphore::MAX_PERMITS))),
            largest_file: config.repository_size,
            limit: config.operation_timeout,
        })
    }

    /// Begins a command; it runs at most as long as operations may, unless told otherwise.
    pub(crate) fn call<'a>(&'a self, arguments: &[&str]) -> Call<'a> {
        Call::new(self, arguments, self.limit)
    }

    /// Returns what `git --version` says.
    ///
    /// # Errors
    /// [`Failure`] if there is no git.
    pub(crate) async fn version(&self) -> Result<String, Failure> {
        let output = self.call(&["--version"]).folder(Path::new("/")).run("start git").await?;
        Ok(output.text().trim().to_owned())
    }
}

fn environment(config: &Config, program: &Path) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut variables: Vec<(OsString, OsString)> = vec![("PATH".into(), path), ("GIT_ASKPASS".into(), program.into())];
    let mut set = |name: &str, value: &str| variables.push((name.into(), value.into()));
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_SSH_VARIANT", "ssh"),
        ("GIT_CEILING_DIRECTORIES", "/"),
    ] {
        set(name, value);
    }
    let allowed = SCHEMES.into_iter().filter(|scheme| {
        // This machine is reached by `http` and `git` whatever the list says.
        let here = config.rules.loopback && matches!(scheme, feature_api::Scheme::Http | feature_api::Scheme::Git);
        here || config.rules.schemes.contain(*scheme)
    });
    let protocols: Vec<String> = allowed.map(|scheme| format!("protocol.{}.allow", scheme.name())).collect();
    let authorities = config.ca_file.iter().map(|file| ("http.sslCAInfo", file.as_str()));
    let settings = CONFIG.iter().copied().chain(protocols.iter().map(|name| (name.as_str(), "always"))).chain(authorities);
    let mut count = 0;
    for (name, value) in settings {
        set(&format!("GIT_CONFIG_KEY_{count}"), name);
        set(&format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    set("GIT_CONFIG_COUNT", &count.to_string());
    variables
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use service_kit::Settings;

    use super::*;

    #[test]
    fn git_itself_reaches_only_what_is_allowed_whatever_it_is_given() {
        let config = crate::settings::read(&mut Settings::new([("ALLOWED_URL_SCHEMES", "https")]));
        let environment = environment(&config, Path::new("/bin/false"));
        for (url, refused) in [
            ("https://127.0.0.1:1/a", None),
            ("http://127.0.0.1:1/a", Some("http")),
            ("git://127.0.0.1:1/a", Some("git")),
            ("ssh://git@127.0.0.1:1/a", Some("ssh")),
            ("file:///nowhere", Some("file")),
            ("ext::false", Some("ext")),
            ("fd::9", Some("fd")),
        ] {
            let output = Command::new("git").args(["ls-remote", "--", url]).env_clear().envs(environment.iter().cloned()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let expected = refused.map(|scheme| format!("transport '{scheme}' not allowed"));
            assert!(!output.status.success(), "{url}");
            assert_eq!(said.contains("not allowed"), expected.is_some(), "{url}: {said}");
            assert!(expected.is_none_or(|words| said.contains(&words)), "{url}: {said}");
        }
    }
}
