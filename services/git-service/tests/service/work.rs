//! What the service does when all goes well.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::json;

use crate::remote::{Daemon, PASSWORD, git};
use crate::world::{STEP, World, adding, make_remote, processes_with, stream};

#[test]
fn a_change_goes_from_a_look_to_a_branch_over_http_and_gits_own_protocol() {
    let world = World::start();
    let daemon = Daemon::start(&world.remotes());
    for (url, branch) in [(world.http.url("repo"), "feature/http"), (daemon.url("repo"), "feature/git")] {
        let seen = world.done("Look", &world.look(&url));
        assert_eq!(seen, json!({"branch": "main", "head": world.base, "paths": ["README.md", "src/main.rs"], "truncated": false}));
        let asked =
            json!({"remote": {"url": url}, "commit": world.base, "paths": ["src/main.rs", "link", "no", "../x", "src", "src/main.rs"]});
        let main = json!({"path": "src/main.rs", "content": "fn main() {}\n"});
        assert_eq!(world.done("Read", &asked), json!({"files": [main, main], "skipped": ["link", "no", "../x", "src"]}));
        let change = world.change(&url, branch, &adding("src/new.rs", "new"));
        let made = world.done("Apply", &change);
        assert_eq!((made["paths"].clone(), made["repeated"].clone()), (json!(["src/new.rs"]), json!(false)));
        let remote = world.remotes().join("repo");
        assert_eq!(git(&remote, &["rev-parse", branch]), made["commit"].as_str().unwrap());
        assert_eq!(
            git(&remote, &["log", "-1", "--format=%an|%cI|%P", branch]),
            format!("Feature Platform|2026-01-02T03:04:05+00:00|{}", world.base)
        );
        assert_eq!(git(&remote, &["log", "-1", "--format=%(trailers:key=Feature-Step,valueonly)", branch]), STEP);
        let again = world.done("Apply", &change);
        assert_eq!((again["commit"].clone(), again["repeated"].clone()), (made["commit"].clone(), json!(true)));
        let other = world.change(&url, branch, &adding("src/new.rs", "other"));
        assert_eq!(world.refused("Apply", &other).0, "already_exists");
        assert_eq!(git(&remote, &["rev-parse", branch]), made["commit"].as_str().unwrap());
        assert_eq!(world.done("Look", &json!({"remote": {"url": url}, "branch": branch}))["head"], made["commit"]);
    }
    let metrics = world.metrics();
    for line in [
        "git_operations_total{operation=\"clone\",outcome=\"completed\"} 2",
        "git_operations_total{operation=\"push\",outcome=\"failed\"} 2",
        "git_operations_errors_total{operation=\"push\",reason=\"conflict\"} 2",
        "git_clone_duration_seconds_count{outcome=\"completed\"} 2",
        "git_push_duration_seconds_count{outcome=\"completed\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn the_same_request_makes_the_same_commit_on_a_service_without_a_cache() {
    let world = World::start();
    let url = world.http.url("repo");
    let change = world.change(&url, "feature/a", &adding("a", "a"));
    let first = world.done("Apply", &change);
    git(&world.remotes().join("repo"), &["branch", "-D", "feature/a"]);
    std::fs::remove_dir_all(world.cache().join("repositories")).unwrap();
    std::fs::create_dir(world.cache().join("repositories")).unwrap();
    let second = world.done("Apply", &change);
    assert_eq!((second["commit"].clone(), second["repeated"].clone()), (first["commit"].clone(), json!(false)));
}

#[test]
fn an_archive_holds_the_files_as_they_are_and_ends_with_its_client() {
    let world = World::start();
    let large = vec![7_u8; 40 << 20];
    let files: &[(&str, &[u8])] =
        &[("README.md", b"x $Id$\r\n"), (".gitattributes", b"secret export-ignore\n* text ident\n"), ("secret", b"s"), ("large", &large)];
    let commit = make_remote(&world.remotes(), "large", files);
    let request = json!({"remote": {"url": world.http.url("large")}, "branch": "main", "commit": commit});
    let port = world.service.port("http").unwrap();
    let mut archive = tar::Archive::new(stream(port, "Archive", &request));
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(entry.path().unwrap().display().to_string(), content);
    }
    assert_eq!(found["secret"], b"s");
    assert_eq!(
        found["README.md"],
        git(&world.remotes().join("large"), &["show", "main:README.md"]).into_bytes().into_iter().chain(*b"\n").collect::<Vec<_>>()
    );
    assert_eq!(found["large"], large);
    let mut broken_off = stream(port, "Archive", &request);
    broken_off.read_exact(&mut [0; 1000]).unwrap();
    assert!(!world.workers().is_empty(), "git waits for the client");
    drop(broken_off);
    world.wait_for_no_workers();
    let cancelled = || world.metrics().contains("git_operations_total{operation=\"archive\",outcome=\"cancelled\"} 1").then_some(());
    service_testing::eventually("the archive counts as cancelled", cancelled).unwrap();
    let missing = json!({"remote": {"url": world.http.url("large")}, "branch": "main", "commit": "0".repeat(40)});
    assert_eq!(world.refused("Archive", &missing).0, "aborted");
}

#[test]
fn files_that_are_binary_or_large_are_skipped() {
    let world = World::start();
    let large = "x".repeat((256 << 10) + 1);
    let files: &[(&str, &[u8])] = &[("binary", b"a\0b"), ("latin", b"\xe4"), ("large", large.as_bytes()), ("ä b.txt", "ü\n".as_bytes())];
    let commit = make_remote(&world.remotes(), "files", files);
    let url = world.http.url("files");
    let request = json!({"remote": {"url": url}, "commit": commit, "paths": ["binary", "latin", "large", "ä b.txt", "*"]});
    let answer = world.done("Read", &request);
    assert_eq!(answer, json!({"files": [{"path": "ä b.txt", "content": "ü\n"}], "skipped": ["binary", "latin", "large", "*"]}));
    let many = json!({"remote": {"url": url}, "commit": commit, "paths": vec!["a"; 101]});
    assert_eq!(world.refused("Read", &many).0, "invalid_argument");
}

#[test]
fn a_credential_opens_a_repository_and_is_seen_nowhere() {
    let world = World::start();
    let url = world.http.url("private/repo");
    let with = |credential: &str, url: &str| json!({"remote": {"url": url, "credential": credential}});
    assert_eq!(world.refused("Look", &world.look(&url)).0, "permission_denied");
    assert_eq!(world.refused("Look", &with("wrong", &url)).0, "permission_denied");
    assert_eq!(world.refused("Look", &with("none", &url)).0, "permission_denied");
    assert_eq!(world.done("Look", &with("robot", &url))["head"], world.base);
    // What one credential fetched, another one, or none, does not get.
    let read = json!({"remote": {"url": url}, "commit": world.base, "paths": ["README.md"]});
    assert_eq!(world.refused("Read", &read).0, "permission_denied");
    let mut change = world.change(&url, "feature/p", &adding("p", "p"));
    change["remote"]["credential"] = json!("robot");
    assert_eq!(world.done("Apply", &change)["repeated"], false);
    let log = world.service.log();
    assert!(!log.contains(PASSWORD), "{log}");
    // While git runs.
    let hanging = with("robot", &world.http.url("hanging/repo"));
    let port = world.service.port("http").unwrap();
    let asked = service_testing::Connection::post(port, "/feature.git.v1.GitService/Look", &hanging.to_string()).unwrap();
    service_testing::eventually("git asks the server", || (world.http.hanging() > 0).then_some(())).unwrap();
    let lines = processes_with(&world.cache().display().to_string(), "GIT_CEILING_DIRECTORIES");
    assert!(!lines.is_empty() && !lines.concat().contains(PASSWORD), "{lines:?}");
    assert!(processes_with(PASSWORD, "GIT_CEILING_DIRECTORIES").is_empty());
    drop(asked);
    world.wait_for_no_workers();
}

#[test]
fn twenty_changes_at_a_time_are_all_made() {
    let world = World::start();
    let (url, port) = (world.http.url("repo"), world.service.port("http").unwrap());
    let all: Vec<_> = (0..20)
        .map(|n| {
            // Every second one is the same request as the one before.
            let change = world.change(&url, &format!("feature/{}", n / 2), &adding("new", &format!("{}", n / 2)));
            std::thread::spawn(move || crate::world::call(port, "Apply", &change))
        })
        .collect();
    let answers: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
    for pair in answers.chunks(2) {
        assert_eq!((pair[0].0, pair[1].0), (200, 200), "{pair:?}\n{}", world.service.log());
        assert_eq!(pair[0].1["commit"], pair[1].1["commit"]);
        let repeats = pair.iter().filter(|(_, answer)| answer["repeated"] == true).count();
        assert!(repeats <= 1, "{pair:?}");
    }
    assert!(world.metrics().contains("git_operations_total{operation=\"clone\",outcome=\"completed\"} 1"));
}

#[test]
fn the_cache_keeps_within_its_bound() {
    let world = World::start_with(&[("GIT_CACHE_SIZE_MB", "1")]);
    let copies = || {
        let entries = std::fs::read_dir(world.cache().join("repositories")).unwrap().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "git")).count()
    };
    for n in 0..3_u8 {
        // Bytes that don't compress.
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64 + u64::from(n);
        let random = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[0]
        });
        let bytes: Vec<u8> = random.take(700_000).collect();
        let name = format!("large-{n}");
        make_remote(&world.remotes(), &name, &[("large", &bytes)]);
        world.done("Look", &world.look(&world.http.url(&name)));
    }
    assert_eq!(copies(), 1);
}
