//! A disk that is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::project::{Project, deployment};

const MARK: &str = "PROVISION_TEST_OWN_MOUNTS";
const SLEEPS: &str = "exec sleep 1000";

/// Runs one of these tests where it may mount; tells whether the test is to go on here.
fn with_own_mounts(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--mount").arg(std::env::current_exe().unwrap()).args([test, "--exact", "--test-threads=1"]).env(MARK, "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// A small disk of one test.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let disk = Self(tempfile::Builder::new().prefix("disk-").tempdir_in("/var/tmp").unwrap());
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "none"]);
        disk
    }

    fn resize(&self, size: &str) {
        self.mount(&["-o", &format!("remount,size={size}")]);
    }

    fn mount(&self, words: &[&str]) {
        assert!(Command::new("mount").args(words).arg(self.0.path()).status().unwrap().success());
    }

    fn project(&self) -> Project {
        Project::new(&deployment("web", SLEEPS, "")).with_state(self.0.path().join("state"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

/// Fills a disk to its last byte; returns what does.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    for block in [vec![0; 1 << 20], vec![0; 4096], vec![0; 1]] {
        while file.write_all(&block).is_ok() {}
    }
    path
}

#[test]
fn a_disk_that_is_too_small_for_the_programs_is_said_and_a_larger_one_will_do() {
    if !with_own_mounts("faults::disk::a_disk_that_is_too_small_for_the_programs_is_said_and_a_larger_one_will_do") {
        return;
    }
    let disk = Disk::new("4m");
    let project = disk.project();
    let state = project.state().display().to_string();
    project.badly(&["up", "--yes"], 1, &[&state, "local-models", "No space left on device", "free space"]);
    project.well(&["status"]);
    disk.resize("400m");
    project.well(&["up", "--yes"]);
    project.well(&["down", "--yes"]);
}

#[test]
fn a_disk_that_is_full_is_said_and_harms_nothing() {
    if !with_own_mounts("faults::disk::a_disk_that_is_full_is_said_and_harms_nothing") {
        return;
    }
    let disk = Disk::new("400m");
    let project = disk.project();
    project.well(&["up", "--yes"]);
    let filler = fill(project.state());
    project.objects(&deployment("web", "exec sleep 1001", ""));
    let begun = Instant::now();
    let local = project.local().display().to_string();
    let words = ["No space left on device", &local, "next: make space on the disk of the state folder"];
    project.badly(&["up", "--yes"], 1, &words);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let status = project.well(&["status"]);
    assert!(status.stdout.contains("1 of 1 pods are available"), "what runs goes on: {}", status.stdout);
    project.kill_supervisor();
    let words = ["No space left on device", "the supervisor of", "next:"];
    project.badly(&["status"], 1, &words);
    fs::remove_file(filler).unwrap();
    let status = project.well(&["status"]);
    assert!(status.stdout.contains("1 of 1 pods are available"), "nothing is lost: {}", status.stdout);
    project.well(&["up", "--yes"]);
    project.well(&["plan", "--detailed-exit-code"]);
    project.well(&["down", "--yes"]);
}
