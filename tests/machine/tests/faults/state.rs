//! State folders that can't be used, and supervisors that are gone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use sha2::{Digest, Sha256};

use super::project::{Project, deployment};

const SLEEPS: &str = "exec sleep 1000";

/// Reads every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    found
}

#[test]
fn a_state_folder_of_a_newer_version_is_refused_and_left_alone() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    project.well(&["up", "--yes"]);
    project.well(&["down", "--yes"]);
    let path = project.local().join("objects/snapshot");
    let before = fs::read_to_string(&path).unwrap();
    let (header, rest) = before.split_once('\n').unwrap();
    let newer = header.split_once(' ').unwrap().1.replace("\"format\":1", "\"format\":2");
    let sum = hex::encode(Sha256::digest(&newer));
    fs::write(&path, format!("{} {newer}\n{rest}", &sum[..16])).unwrap();
    let (files_before, state) = (files(project.state()), project.local().display().to_string());
    for verb in [&["up", "--yes"][..], &["status"], &["down", "--yes"]] {
        project.badly(verb, 5, &[&state, "nothing was touched", "format 2", "up to 1", "next: use the newer version"]);
    }
    assert_eq!(files(project.state()), files_before);
    fs::write(&path, before).unwrap();
    project.well(&["up", "--yes"]);
}

#[test]
fn a_state_folder_that_is_not_ours_alone_is_refused() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    let state = project.local();
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    project.badly(&["up", "--yes"], 1, &[&format!("{} may be written by others", state.display()), "--state DIR"]);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    if Uid::effective().is_root() {
        chown(&state, Some(12_345), None).unwrap();
        project.badly(&["up", "--yes"], 1, &[&format!("{} belongs to another user", state.display()), "--state DIR"]);
        chown(&state, Some(0), None).unwrap();
    } else {
        fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).unwrap();
        project.badly(&["up", "--yes"], 1, &[&state.display().to_string(), "Permission denied", "--state DIR"]);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    }
    project.well(&["up", "--yes"]);
}

#[test]
fn a_state_folder_that_is_a_file_is_named() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    fs::write(project.state(), "").unwrap();
    project.badly(&["up", "--yes"], 1, &[&project.state().display().to_string(), "next:"]);
    fs::remove_file(project.state()).unwrap();
}

#[test]
fn a_state_folder_may_lie_deeper_than_a_socket() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    let deep = project.path().join("a-folder-with-a-long-name/".repeat(6));
    assert!(deep.as_os_str().len() > 108);
    let project = project.with_state(deep);
    project.well(&["up", "--yes"]);
    project.well(&["down", "--yes"]);
}

#[test]
fn of_two_runs_at_the_same_time_one_waits_for_the_other() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    let start = || project.command(&["up", "--yes"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let outputs = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(outputs.iter().any(|output| output.status.code() == Some(0)), "{outputs:?}");
    for output in outputs.iter().filter(|output| output.status.code() != Some(0)) {
        assert_eq!(output.status.code(), Some(5), "{}", text(output));
        assert!(text(output).contains("another run recorded a release meanwhile") && text(output).contains("next: run it again"));
    }
    let again = project.well(&["up", "--yes"]);
    assert!(again.stderr.contains("0 to create, 0 to update"), "{}", again.stderr);
    assert_eq!(project.in_role("--supervisor").len(), 1);
}

#[test]
fn what_a_killed_supervisor_left_is_no_hindrance() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    project.well(&["up", "--yes"]);
    let keepers = || machine::processes_with(|words| words.iter().any(|word| word.contains(&*project.local().to_string_lossy())));
    let killed = [project.in_role("--supervisor"), project.in_role("--watcher")].concat();
    let before: Vec<i32> = keepers().into_iter().filter(|pid| !killed.contains(pid)).collect();
    project.kill_supervisor();
    assert!(project.local().join("control/socket").exists(), "its socket is left over");
    let status = project.well(&["status"]);
    assert!(status.stdout.contains("1 of 1 pods are available"), "{}", status.stdout);
    assert_eq!(project.in_role("--supervisor").len(), 1, "the next command starts it");
    assert!(!before.is_empty() && before.iter().all(|pid| keepers().contains(pid)), "what runs went on");
    let again = project.well(&["up", "--yes"]);
    assert!(again.stderr.contains("0 to create, 0 to update"), "{}", again.stderr);
}
