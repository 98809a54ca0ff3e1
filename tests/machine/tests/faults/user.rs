//! The whole platform as an ordinary user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use machine::{Ended, Machine};
use nix::unistd::Uid;
use serde_json::Value;

use super::project::{ended, programs};

/// A user that every machine has.
const NOBODY: u32 = 65534;

/// A home with the project and the programs in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::Builder::new().prefix("home-").tempdir_in("/var/tmp").unwrap());
        fs::set_permissions(home.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in ["environments", "templates"] {
            home.take(&repository.join(folder), &home.path("project").join(folder));
        }
        fs::create_dir_all(home.path("bin")).unwrap();
        for program in fs::read_dir(programs()).unwrap().map(|entry| entry.unwrap().path()) {
            let plain = program.is_file() && program.extension().is_none();
            if plain && fs::hard_link(&program, home.path("bin").join(program.file_name().unwrap())).is_err() {
                fs::copy(&program, home.path("bin").join(program.file_name().unwrap())).unwrap();
            }
        }
        for folder in ["", "project", "bin"] {
            chown(home.path(folder), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        home
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn take(&self, from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let target = to.join(entry.file_name().unwrap());
            if entry.is_dir() {
                self.take(&entry, &target);
            } else {
                fs::copy(&entry, &target).unwrap();
            }
        }
    }

    fn provision(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"]).arg(self.path("bin/provision"));
        command.args(arguments).args(["--env", "local"]).current_dir(self.path("project")).env_clear().stdin(Stdio::null());
        ended(command.env("HOME", self.path("")).env("PATH", "/usr/bin:/bin").env("USER", "nobody"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.provision(&["down", "--yes", "--timeout", "60s"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_has_the_whole_platform() {
    if !Uid::effective().is_root() {
        // Then every other test of this program is one of an ordinary user.
        return;
    }
    let turn = Machine::empty();
    let home = Home::new();
    let up = home.provision(&["up", "--yes", "--timeout", "300s"]);
    assert_eq!(up.code, Some(0), "{}{}", up.stdout, up.stderr);
    let told: Value = serde_json::from_str(&home.provision(&["status", "-o", "json"]).stdout).unwrap();
    let said = |words: &str| told["notices"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains(words));
    assert!(said("all runs as user 65534"), "{told}");
    assert!(said("event-bus: it keeps events in memory"), "{told}");
    let at = |name: &str| told["endpoints"][name].as_str().unwrap().to_owned();
    let (gateway, repository) = (at("gateway"), format!("{}/demo.git", at("git")));
    let id = turn.send(&gateway, &repository, "of an ordinary user").await;
    let ended = turn.ended(&gateway, &[id], Duration::from_secs(60)).await;
    assert_eq!(ended[0].state, "COMPLETED", "{:?}", ended[0].told);
    let state = home.path(".local/state/provision").to_string_lossy().into_owned();
    let of_platform = || machine::processes_with(|words| words.iter().any(|word| word.contains(&state)));
    assert!(!of_platform().is_empty());
    let down = home.provision(&["down", "--yes"]);
    assert_eq!(down.code, Some(0), "{}{}", down.stdout, down.stderr);
    assert_eq!(of_platform(), Vec::<i32>::new(), "nothing is left");
}
