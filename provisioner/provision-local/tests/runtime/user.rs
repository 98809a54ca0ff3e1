//! As root a program has the rights of its own user only; as an ordinary user that is said.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use nix::unistd::Uid;
use provision_local::{File, Kubelet as _, Mount, Restart, Volume, VolumeSource};

use super::world::{World, parts, script};

/// Runs one of these tests as an ordinary user: in a process of its own if we are root. Tells whether the test is to go on here.
fn as_ordinary_user(test: &str) -> bool {
    if !Uid::effective().is_root() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: &std::path::Path, name: &str| {
        let to = folder.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let tests = copy(&std::env::current_exe().unwrap(), "tests");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(tests)
        .args([test, "--exact", "--test-threads=1"])
        .env("LOCAL_PARTS", copy(&parts(), "parts"))
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[tokio::test]
async fn root_gives_its_rights_up() {
    let mut world = World::new();
    let text = "id -u; id -g; id -G; touch \"$DATA/x\"; cat \"$SECRET\"; touch \"${SECRET%/*}/mine\" 2>&1 | grep -c denied; \
                grep NoNewPrivs /proc/self/status";
    let mut app = script(text);
    (app.run_as_user, app.run_as_group) = (Some(65532), Some(65531));
    app.env = [("DATA", "/data"), ("SECRET", "/secret/key")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mount = |volume: &str, path: &str| Mount { volume: volume.to_owned(), path: path.into(), sub_path: None, read_only: false };
    app.mounts = vec![mount("data", "/data"), mount("secret", "/secret")];
    let mut pod = world.pod(vec![app]);
    let key = File { path: "key".into(), content: b"value\n".to_vec(), mode: 0o400 };
    pod.volumes = vec![
        Volume { name: "data".to_owned(), source: VolumeSource::Claim { name: "c".to_owned() } },
        Volume { name: "secret".to_owned(), source: VolumeSource::Files(vec![key]) },
    ];
    (pod.restart, pod.fs_group) = (Restart::Never, Some(65530));
    let uid = pod.uid.clone();
    world.want(pod).await;
    let ended = world.ended(&uid).await;
    let log = world.log(&uid, false).await;
    assert_eq!(ended.exit_code, 0, "{log:#?}");
    let own = Uid::effective();
    if own.is_root() {
        assert_eq!(log[..5], ["65532", "65531", "65531 65530", "value", "1"], "files of a Secret may be read and not added to");
        let written = fs::metadata(world.settings.state.join("volumes/test/c/x")).unwrap();
        assert_eq!((written.uid(), written.gid()), (65532, 65530), "the group is handed down");
        let secret = fs::metadata(world.settings.state.join("pods").join(&uid).join("volumes/secret/key")).unwrap();
        assert_eq!((secret.uid(), secret.gid(), secret.mode() & 0o777), (65532, 65530, 0o440));
    } else {
        assert_eq!(log[0], own.to_string());
        assert_eq!(log[3], "value");
        let said = format!("runAsUser, runAsGroup and fsGroup are not enforced: all runs as user {own}, as we are not root");
        assert!(world.kubelet().notices().contains(&said));
    }
    assert_eq!(log.last().unwrap(), "NoNewPrivs:\t1");
    world.end().await;
}

#[tokio::test]
async fn a_program_in_a_closed_folder_runs_under_its_user() {
    let mut world = World::new();
    let closed = world.folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::copy("/bin/sleep", closed.join("sleep")).unwrap();
    fs::set_permissions(closed.join("sleep"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut app = script("600");
    (app.command, app.args, app.run_as_user) =
        (vec![closed.join("sleep").to_string_lossy().into_owned()], vec!["600".to_owned()], Some(65532));
    let pod = world.pod(vec![app]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.ready(&uid).await;
    let program = world.program(&uid);
    super::world::eventually("it is the program", || {
        super::world::read(format!("/proc/{program}/cmdline").as_ref()).contains("/closed/sleep")
    })
    .await;
    assert_eq!(world.container(&uid, "app").unwrap().restarts, 0);
    world.end().await;
}

#[tokio::test]
async fn a_folder_that_was_there_loses_nothing() {
    let mut world = World::new();
    world.drop_supervisor();
    for (before, as_root) in [(0o1777, 0o1777), (0o700, 0o711), (0o750, 0o751)] {
        fs::set_permissions(&world.settings.state, fs::Permissions::from_mode(before)).unwrap();
        drop(provision_local::LocalKubelet::open(world.settings.clone()).unwrap());
        let after = fs::metadata(&world.settings.state).unwrap().mode() & 0o7777;
        assert_eq!(after, if Uid::effective().is_root() { as_root } else { before }, "{before:o}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_state_folder_that_the_user_can_not_reach_is_named() {
    let mut world = World::new();
    fs::set_permissions(world.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut app = script("true");
    (app.run_as_user, app.mounts) =
        (Some(65532), vec![Mount { volume: "data".to_owned(), path: "/data".into(), sub_path: None, read_only: false }]);
    let mut pod = world.pod(vec![app]);
    pod.restart = Restart::Never;
    pod.volumes = vec![Volume { name: "data".to_owned(), source: VolumeSource::Empty { limit: None } }];
    let uid = pod.uid.clone();
    world.want(pod).await;
    if Uid::effective().is_root() {
        world.event("FailedMount", "is closed to others; choose another state folder (--state)").await;
    } else {
        assert_eq!(world.ended(&uid).await.exit_code, 0);
    }
    world.end().await;
}

#[tokio::test]
async fn an_ordinary_user_runs_pods_and_is_told_what_is_not_enforced() {
    if as_ordinary_user("user::an_ordinary_user_runs_pods_and_is_told_what_is_not_enforced") {
        let mut world = World::new();
        let mut app = script("id -u; exec sleep 600");
        app.run_as_user = Some(65532);
        let pod = world.pod(vec![app]);
        let uid = pod.uid.clone();
        world.want(pod).await;
        world.says(&uid, &Uid::effective().to_string()).await;
        assert!(world.kubelet().notices().iter().any(|notice| notice.starts_with("runAsUser, runAsGroup and fsGroup are not enforced")));
        world.end().await;
    }
}

/// The tests whose outcome differs without root, again without it.
#[tokio::test]
async fn everything_that_depends_on_rights_holds_without_them() {
    for test in [
        "user::root_gives_its_rights_up",
        "user::a_state_folder_that_the_user_can_not_reach_is_named",
        "kill::a_killed_keeper_takes_everything_along_before_the_next_run",
        "kill::grandchildren_that_leave_the_session_end_with_the_program",
        "kill::a_keeper_killed_in_the_supervisors_absence_is_noticed",
        "kill::nothing_starts_again_because_the_supervisor_did",
        "limits::limits_are_enforced_or_it_is_said_that_they_are_not",
        "limits::a_program_that_uses_too_much_memory_is_killed_and_it_is_said",
        "limits::a_fork_bomb_ends_with_its_pod",
        "volumes::a_claim_outlives_its_pods_and_another_folder_does_not",
        "volumes::files_follow_their_objects_while_the_pod_runs",
    ] {
        if as_ordinary_user(test) {
            return;
        }
    }
}
