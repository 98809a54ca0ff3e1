use std::time::{Duration, Instant};

use provision_local::{ContainerState, Hook, Restart};

use super::world::{World, container, script};

#[tokio::test]
async fn a_program_runs_with_its_variables_and_nothing_else() {
    let mut world = World::new();
    let mut app = script("env | sort; echo \"$0 $@\"; pwd; exec sleep 600");
    app.args.extend(["zero", "--file=/data/x", "two words"].map(str::to_owned));
    app.env = [("B", "first"), ("A", "a b"), ("B", "second")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let pod = world.pod(vec![app]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "/").await;
    let log = world.log(&uid, false).await;
    let names: Vec<&str> = log.iter().filter_map(|line| Some(line.split_once('=')?.0)).filter(|name| !name.contains(' ')).collect();
    assert_eq!(names, ["A", "B", "HOSTNAME", "PATH", "PROVISION_RUN", "PWD"]);
    assert!(log.contains(&"A=a b".to_owned()) && log.contains(&"B=second".to_owned()), "{log:#?}");
    assert!(log.contains(&"zero --file=/data/x two words".to_owned()), "{log:#?}");
    let report = world.running(&uid).await;
    assert!(report.restarts == 0 && report.last.is_none());
    world.ready(&uid).await;
    world.end().await;
}

#[tokio::test]
async fn no_signal_is_held_back_from_a_program() {
    let mut world = World::new();
    let mut app = container("sh", &["SigBlk", "/proc/self/status"]);
    app.command = vec!["grep".to_owned()];
    let mut pod = world.pod(vec![app]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.ended(&uid).await;
    assert_eq!(world.log(&uid, false).await, ["SigBlk:\t0000000000000000"]);
    world.end().await;
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    for (text, code, reason) in
        [("exit 0", 0, "Completed"), ("exit 3", 3, "Error"), ("kill -KILL $$", 137, "Error"), ("kill -SEGV $$", 139, "Error")]
    {
        let mut world = World::new();
        let mut pod = world.pod(vec![script(text)]);
        pod.restart = Restart::Never;
        let uid = pod.uid.clone();
        world.want(pod).await;
        let ended = world.ended(&uid).await;
        assert_eq!((ended.exit_code, ended.reason.as_str()), (code, reason), "{text}");
        assert!(ended.finished >= ended.started);
        world.end().await;
    }
}

#[tokio::test]
async fn what_crashes_is_started_again_ever_more_slowly() {
    let mut world = World::new();
    let pod = world.pod(vec![script("echo run; exit 7")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let message = world.waiting(&uid, "CrashLoopBackOff").await;
    assert!(message.starts_with("back-off 100ms restarting failed container=app"), "{message}");
    let report = world.container(&uid, "app").unwrap().clone();
    assert_eq!((report.restarts, report.last.unwrap().exit_code), (1, 7));
    let third = world.until("it rests longer", |world| {
        let report = world.container(&uid, "app")?;
        matches!(&report.state, ContainerState::Waiting { message, .. } if message.starts_with("back-off 400ms")).then_some(report.restarts)
    });
    assert!(third.await >= 3);
    assert!(world.has_event("BackOff", "Back-off restarting failed container app"));
    assert_eq!(world.log(&uid, true).await, ["run"], "the log of the run before");
    world.end().await;
}

#[tokio::test]
async fn on_failure_ends_with_success() {
    let mut world = World::new();
    let folder = world.folder.path().join("done");
    let mut pod = world.pod(vec![script(&format!("test -e {0} || {{ touch {0}; exit 1; }}", folder.display()))]);
    pod.restart = Restart::OnFailure;
    let uid = pod.uid.clone();
    world.want(pod).await;
    assert_eq!(world.ended(&uid).await.exit_code, 0);
    let report = world.container(&uid, "app").unwrap();
    assert_eq!(report.restarts, 1);
    world.end().await;
}

#[tokio::test]
async fn nothing_of_an_ended_pod_is_started_again() {
    let mut world = World::new();
    let runs = world.folder.path().join("runs");
    let mut pod = world.pod(vec![script(&format!("echo run >> {}", runs.display()))]);
    (pod.restart, pod.ended) = (Restart::Never, true);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let other = world.pod(vec![script("exec sleep 600")]);
    let clock = other.uid.clone();
    world.want(other).await;
    world.running(&clock).await;
    assert!(!runs.exists() && world.pods.contains_key(&uid));
    world.end().await;
}

#[tokio::test]
async fn init_containers_run_one_after_the_other_before_the_others() {
    let mut world = World::new();
    let file = world.folder.path().join("order");
    let step = |name: &str| {
        let mut step = script(&format!("echo {name} >> {}", file.display()));
        step.name = name.to_owned();
        step
    };
    let mut pod = world.pod(vec![script(&format!("echo app >> {}; exec sleep 600", file.display()))]);
    pod.init_containers = vec![step("one"), step("two")];
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.ready(&uid).await;
    super::world::eventually("all wrote", || super::world::read(&file) == "one\ntwo\napp").await;
    let report = &world.pods[&uid];
    assert!(
        report.init_containers.iter().all(|one| one.ready && matches!(&one.state, ContainerState::Ended(end) if end.reason == "Completed"))
    );
    world.end().await;
}

#[tokio::test]
async fn a_failed_init_container_keeps_the_others_waiting() {
    let mut world = World::new();
    let mut first = script("exit 9");
    first.name = "first".to_owned();
    let mut pod = world.pod(vec![script("exec sleep 600")]);
    (pod.init_containers, pod.restart) = (vec![first], Restart::Never);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let code = world
        .until("the init container has ended", |world| match &world.container(&uid, "first")?.state {
            ContainerState::Ended(ended) => Some(ended.exit_code),
            _ => None,
        })
        .await;
    assert_eq!(code, 9);
    let other = world.pod(vec![script("exec sleep 600")]);
    let clock = other.uid.clone();
    world.want(other).await;
    world.running(&clock).await;
    let waits =
        matches!(&world.container(&uid, "app").unwrap().state, ContainerState::Waiting { reason, .. } if reason == "PodInitializing");
    assert!(waits);
    world.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut world = World::new();
    let pod = world.pod(vec![container("registry.example.com/gone:1", &[])]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let message = world.waiting(&uid, "ImagePullBackOff").await;
    assert!(message.contains("program not found: /nowhere/gone"), "{message}");
    assert!(world.has_event("Failed", "Failed to pull image \"registry.example.com/gone:1\": program not found: /nowhere/gone"));
    world.end().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let mut world = World::new();
    let mut app = script("");
    app.command = vec!["no-such-command".to_owned()];
    let pod = world.pod(vec![app]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    let message = world.waiting(&uid, "CreateContainerError").await;
    assert!(message.contains("\"no-such-command\": executable file not found in $PATH"), "{message}");
    world.end().await;
}

#[tokio::test]
async fn what_can_not_be_started_says_why() {
    let mut world = World::new();
    let mut app = script("true");
    app.working_dir = Some("/no/such/folder".into());
    let mut pod = world.pod(vec![app]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    let ended = world.ended(&uid).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (128, "StartError"));
    assert!(ended.message.contains("failed to start /bin/sh: No such file or directory"), "{}", ended.message);
    world.end().await;
}

#[tokio::test]
async fn a_polite_program_ends_by_itself_within_the_grace_period() {
    let mut world = World::new();
    let mark = world.folder.path().join("bye");
    let pod = world.pod(vec![script(&format!("trap 'echo bye > {}; exit 0' TERM; echo up; while :; do sleep 0.05; done", mark.display()))]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    world.stop(&uid).await;
    assert_eq!(super::world::read(&mark), "bye");
    world.end().await;
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let mut world = World::new();
    let mut pod = world.pod(vec![script("trap '' TERM; echo up; while :; do sleep 0.05; done")]);
    pod.grace = Duration::from_millis(700);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    let begin = Instant::now();
    world.stop(&uid).await;
    assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
    world.end().await;
}

#[tokio::test]
async fn the_hook_before_the_end_runs_first() {
    let mut world = World::new();
    let file = world.folder.path().join("order");
    let mut app = script(&format!("trap 'echo term >> {}; exit 0' TERM; echo up; while :; do sleep 0.05; done", file.display()));
    let hook = format!("echo hook >> {}", file.display());
    app.pre_stop = Some(Hook::Ask(provision_local::Check::Exec { command: ["/bin/sh", "-c", &hook].map(str::to_owned).to_vec() }));
    let pod = world.pod(vec![app]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    world.stop(&uid).await;
    assert_eq!(super::world::read(&file), "hook\nterm");
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_was_never_there_is_gone() {
    let mut world = World::new();
    let mut pod = world.pod(vec![script("exec sleep 600")]);
    pod.stopping = true;
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.until("it is gone", |world| world.gone.contains(&uid).then_some(())).await;
    world.end().await;
}
