//! Whatever is killed: nothing runs twice, nothing is left, and what is told stays true.

use std::process::Stdio;
use std::time::Duration;

use provision_local::{ContainerState, Restart};

use super::world::{World, eventually, is_alive, kill, parts, read, script};

#[tokio::test]
async fn nothing_starts_again_because_the_supervisor_did() {
    let mut world = World::new();
    let runs = world.folder.path().join("runs");
    let mut side = script("exec sleep 600");
    side.name = "side".to_owned();
    let pod = world.pod(vec![side, script(&format!("echo run >> {}; exec sleep 600", runs.display()))]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let before = world.running(&uid).await;
    world.until("all are ready", |world| world.pods.get(&uid)?.containers.iter().all(|one| one.ready).then_some(())).await;
    let (keeper, program) = (world.keeper(&uid), world.program(&uid));
    eventually("it wrote", || read(&runs) == "run").await;
    world.restart_supervisor().await;
    world.until("it is told again", |world| world.pods.get(&uid).map(drop)).await;
    let after = world.container(&uid, "app").unwrap();
    assert_eq!((&after.state, after.ready), (&before.state, true), "the first thing that is told is how it is");
    assert!(world.container(&uid, "side").unwrap().ready);
    assert!(is_alive(keeper) && is_alive(program));
    assert_eq!(read(&runs), "run");
    world.end().await;
}

#[tokio::test]
async fn an_end_in_the_supervisors_absence_is_told_afterwards() {
    let mut world = World::new();
    let go = world.folder.path().join("go");
    let mut pod = world.pod(vec![script(&format!("while ! test -e {}; do sleep 0.02; done; echo last; exit 5", go.display()))]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    world.drop_supervisor();
    let exit = world.run_folder(&uid).join("exit.json");
    std::fs::write(&go, "").unwrap();
    eventually("the keeper wrote it down", || exit.exists()).await;
    world.restart_supervisor().await;
    assert_eq!(world.ended(&uid).await.exit_code, 5);
    assert_eq!(world.log(&uid, false).await, ["last"]);
    world.end().await;
}

#[tokio::test]
async fn a_killed_program_is_started_again() {
    let mut world = World::new();
    let pod = world.pod(vec![script("exec sleep 600")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    kill(world.program(&uid));
    let last = world.until("it runs again", |world| {
        let report = world.container(&uid, "app")?;
        (report.restarts == 1 && matches!(report.state, ContainerState::Running { .. })).then(|| report.last.clone())?
    });
    assert_eq!(last.await.exit_code, 137);
    world.end().await;
}

#[tokio::test]
async fn a_killed_keeper_takes_everything_along_before_the_next_run() {
    let mut world = World::new();
    // A child that leaves the session, and one that stays in it.
    let pod = world.pod(vec![script("setsid sleep 601 & sleep 602 & echo up; exec sleep 603")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    world.running(&uid).await;
    let first: Vec<i32> = world.processes();
    assert!(first.len() >= 4, "keeper, program and two children: {first:?}");
    kill(world.keeper(&uid));
    let last = world.until("it runs again", |world| {
        let report = world.container(&uid, "app")?;
        (report.restarts == 1 && matches!(report.state, ContainerState::Running { .. })).then(|| report.last.clone())?
    });
    let last = last.await;
    assert_eq!((last.exit_code, last.reason.as_str()), (137, "ContainerStatusUnknown"));
    assert!(first.iter().all(|pid| !is_alive(*pid)), "everything of the first run has ended");
    world.end().await;
}

#[tokio::test]
async fn a_keeper_killed_in_the_supervisors_absence_is_noticed() {
    let mut world = World::new();
    let mut pod = world.pod(vec![script("setsid sleep 601 & echo up; exec sleep 603")]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    world.running(&uid).await;
    let first = world.processes();
    let program = world.program(&uid);
    world.drop_supervisor();
    kill(world.keeper(&uid));
    eventually("the program ends with its keeper", || !is_alive(program)).await;
    world.restart_supervisor().await;
    let ended = world.ended(&uid).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "ContainerStatusUnknown"));
    assert!(first.iter().all(|pid| !is_alive(*pid)));
    world.end().await;
}

#[tokio::test]
async fn grandchildren_that_leave_the_session_end_with_the_program() {
    let mut world = World::new();
    let file = world.folder.path().join("pid");
    let text = format!("(setsid env -i sleep 604 & echo $! > {0}) ; while ! test -s {0}; do sleep 0.01; done; exit 0", file.display());
    let mut pod = world.pod(vec![script(&text)]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.ended(&uid).await;
    let pid = read(&file).parse().unwrap();
    assert!(!is_alive(pid), "{pid} has outlived its container");
    world.end().await;
}

#[tokio::test]
async fn a_start_that_was_broken_off_leaves_no_second_program() {
    let mut world = World::new();
    // Ever later, from before the keeper is there to when the program runs.
    for wait in 0..40 {
        let runs = world.folder.path().join(format!("runs-{wait}"));
        let pod = world.pod(vec![script(&format!("echo run >> {}; exec sleep 600", runs.display()))]);
        let uid = pod.uid.clone();
        world.want(pod).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        world.restart_supervisor().await;
        world.running(&uid).await;
        eventually("it wrote", || !read(&runs).is_empty()).await;
        assert_eq!((read(&runs).as_str(), world.container(&uid, "app").unwrap().restarts), ("run", 0), "after {wait} ms");
    }
    world.end().await;
}

#[tokio::test]
async fn a_keeper_starts_nothing_without_the_last_word() {
    let mut world = World::new();
    let runs = world.folder.path().join("runs");
    let pod = world.pod(vec![script(&format!("echo run >> {}; exec sleep 600", runs.display()))]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    eventually("it wrote", || read(&runs) == "run").await;
    let folder = world.folder.path().join("orphan");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(world.run_folder(&uid).join("run.json"), folder.join("run.json")).unwrap();
    let mut keeper = std::process::Command::new(parts());
    let mut keeper = keeper.args(["keeper", "run"]).arg(&folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut status = None;
    eventually("the keeper ends", || {
        status = keeper.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success());
    assert!(folder.join("keeper.json").exists() && !folder.join("program.json").exists());
    assert_eq!(read(&runs), "run");
    world.end().await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_ended_and_removed() {
    let mut world = World::new();
    let pod = world.pod(vec![script("exec sleep 600")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    let program = world.program(&uid);
    world.wanted.pods.clear();
    world.restart_supervisor().await;
    world.until("it is gone", |world| world.gone.contains(&uid).then_some(())).await;
    assert!(!is_alive(program));
    world.end().await;
}

#[tokio::test]
async fn only_one_supervisor_has_a_folder() {
    let world = World::new();
    let other = tokio::task::spawn_blocking({
        let settings = world.settings.clone();
        move || provision_local::LocalKubelet::open(settings).err().map(|error| error.to_string())
    });
    let refusal = other.await.unwrap().unwrap();
    assert!(refusal.starts_with("another supervisor runs the pods of"), "{refusal}");
    world.end().await;
}
