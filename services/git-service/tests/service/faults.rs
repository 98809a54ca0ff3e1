//! What the service does when parts of it die or hang.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use service_testing::{Connection, eventually};

use crate::world::{World, adding};

#[test]
fn a_server_that_hangs_costs_its_time_and_leaves_nothing() {
    let world = World::start_with(&[("GIT_CLONE_TIMEOUT_SECONDS", "1"), ("GIT_OPERATION_TIMEOUT_SECONDS", "1")]);
    let (code, message) = world.refused("Look", &world.look(&world.http.url("hanging/repo")));
    assert_eq!(code, "deadline_exceeded");
    assert!(message.ends_with("not done within 1 s"), "{message}");
    let read = json!({"remote": {"url": world.http.url("hanging/repo")}, "commit": world.base, "paths": ["x"]});
    assert_eq!(world.refused("Read", &read).0, "deadline_exceeded");
    world.wait_for_no_workers();
    assert!(world.metrics().contains("git_operations_errors_total{operation=\"clone\",reason=\"timeout\"} 1"), "{}", world.metrics());
    // Nobody is held up by what hung.
    world.done("Look", &world.look(&world.http.url("repo")));
}

/// Begins a fetch that never ends; returns once git waits for the server.
fn hanging_read(world: &World) -> Connection {
    let read = json!({"remote": {"url": world.http.url("hanging/repo")}, "commit": world.base, "paths": ["x"]});
    let before = world.http.hanging();
    let asked = Connection::post(world.service.port("http").unwrap(), "/feature.git.v1.GitService/Read", &read.to_string()).unwrap();
    eventually("git asks the server", || (world.http.hanging() > before).then_some(())).unwrap();
    asked
}

#[test]
fn nothing_outlives_a_service_that_is_killed_and_the_next_one_goes_on() {
    let mut world = World::start();
    let _asked = hanging_read(&world);
    assert!(!world.workers().is_empty());
    world.kill_and_restart(&[]);
    world.wait_for_no_workers();
    let scratch: Vec<_> = fs::read_dir(world.cache().join("scratch")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(scratch.len(), 2, "the folder and the lock of the running one: {scratch:?}");
    world.done("Apply", &world.change(&world.http.url("repo"), "feature/x", &adding("x", "x")));
}

#[test]
fn a_client_that_goes_away_ends_its_git() {
    let world = World::start();
    let asked = hanging_read(&world);
    assert!(!world.workers().is_empty());
    drop(asked);
    world.wait_for_no_workers();
}

#[test]
fn a_git_that_is_killed_is_a_failure_that_may_be_tried_again() {
    let world = World::start();
    let asked = hanging_read(&world);
    for pid in pids_of("git fetch", &world) {
        // Fails only for one that has ended.
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    let answer = asked.answer().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    world.wait_for_no_workers();
    world.done("Look", &world.look(&world.http.url("repo")));
}

/// Nobody else takes in what git leaves behind there, and a process that has ended stays in the table until somebody does.
#[test]
fn as_the_first_process_of_a_container_it_leaves_no_ended_process_behind() {
    let world = World::start_as_first();
    let first = first_process(&world);
    world.done("Apply", &world.change(&world.http.url("repo"), "feature/x", &adding("x", "x")));
    let asked = hanging_read(&world);
    assert!(!children(first).is_empty());
    drop(asked);
    let none_left = || children(first).is_empty().then_some(());
    assert!(eventually("all are taken in", none_left).is_ok(), "of {first}: {:?}", children(first));
}

/// Finds the process of the service that is the first one of its process namespace.
fn first_process(world: &World) -> i32 {
    let mark = world.cache().display().to_string();
    let is_first = |pid: &i32| {
        let own = fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| String::from_utf8_lossy(&environment).contains(&mark));
        own && status(*pid, "NSpid").is_some_and(|ids| ids.split_whitespace().count() > 1 && ids.ends_with("\t1"))
    };
    eventually("the service is there", || all_pids().into_iter().find(is_first)).unwrap()
}

/// Returns the processes that one has to take in, with their states.
fn children(of: i32) -> Vec<(i32, String)> {
    let is_child = |pid: &i32| status(*pid, "PPid").is_some_and(|parent| parent.trim() == of.to_string());
    all_pids().into_iter().filter(is_child).filter_map(|pid| Some((pid, status(pid, "State")?))).collect()
}

/// Returns a field of what the kernel says of a process.
fn status(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned))
}

fn all_pids() -> Vec<i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn pids_of(line: &str, world: &World) -> Vec<i32> {
    let mark = world.cache().display().to_string();
    let mut pids = Vec::new();
    for pid in all_pids() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).into_owned();
        if String::from_utf8_lossy(&command).replace('\0', " ").starts_with(line) && environment.contains(&mark) {
            pids.push(pid);
        }
    }
    pids
}

fn only_copy(world: &World) -> PathBuf {
    let mut entries = fs::read_dir(world.cache().join("repositories")).unwrap().flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|ending| ending == "git")).unwrap()
}

#[test]
fn what_a_killed_git_left_in_a_copy_is_cleared_at_the_next_fetch() {
    let world = World::start();
    let url = world.http.url("repo");
    world.done("Look", &world.look(&url));
    let copy = only_copy(&world);
    let branch = fs::read_dir(copy.join("refs/branches")).unwrap().next().unwrap().unwrap().path();
    let remains =
        [copy.join("packed-refs.lock"), copy.join("config.lock"), branch.with_extension("lock"), copy.join("objects/pack/tmp_pack_x")];
    for path in &remains {
        fs::write(path, "").unwrap();
    }
    fs::create_dir(copy.with_extension("new")).unwrap();
    // A commit that is not in the copy yet.
    let work = tempfile::tempdir().unwrap();
    let remote = world.remotes().join("repo");
    crate::remote::git(work.path(), &["clone", "--quiet", remote.to_str().unwrap(), "."]);
    crate::remote::git(work.path(), &["commit", "--quiet", "--allow-empty", "--message=Second"]);
    crate::remote::git(work.path(), &["push", "--quiet", "origin", "HEAD:main"]);
    let seen = world.done("Look", &world.look(&url));
    assert_eq!(seen["head"].as_str().unwrap(), crate::remote::git(&remote, &["rev-parse", "main"]));
    assert!(remains.iter().all(|path| !path.exists()));
}

#[test]
fn a_damaged_copy_is_fetched_anew() {
    let world = World::start();
    let url = world.http.url("repo");
    world.done("Look", &world.look(&url));
    let packs = fs::read_dir(only_copy(&world).join("objects/pack")).unwrap().flatten().map(|entry| entry.path());
    for pack in packs.filter(|path| path.extension().is_some_and(|ending| ending == "pack" || ending == "idx")) {
        fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(&pack, "damaged").unwrap();
    }
    let healed = || (world.call("Look", &world.look(&url)).0 == 200).then_some(());
    eventually("the copy is healed", healed).unwrap();
    let read = json!({"remote": {"url": url}, "commit": world.base, "paths": ["README.md"]});
    assert_eq!(world.done("Read", &read)["files"][0]["content"], "hello\n");
}
