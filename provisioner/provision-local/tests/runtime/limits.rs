use nix::unistd::Uid;
use provision_local::{Enforcement, Kubelet as _, Restart};

use super::world::{World, container, eventually, is_alive, script};

fn has(world: &World, controller: &str) -> bool {
    matches!(world.kubelet().enforcement(), Enforcement::Groups { controllers, .. } if controllers.contains(&controller))
}

#[tokio::test]
async fn limits_are_enforced_or_it_is_said_that_they_are_not() {
    let world = World::new();
    let said = world.kubelet().notices().iter().any(|notice| notice.contains("no control group may be written"));
    assert_eq!(said, world.kubelet().enforcement() == Enforcement::Processes);
    if !Uid::effective().is_root() {
        assert!(said || matches!(world.kubelet().enforcement(), Enforcement::Groups { version: 2, .. }));
    }
    world.end().await;
}

#[tokio::test]
async fn a_program_that_uses_too_much_memory_is_killed_and_it_is_said() {
    let mut world = World::new();
    let mut app = container("parts", &["eat", "4096"]);
    app.memory = Some(64 << 20);
    let mut pod = world.pod(vec![app]);
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    let ended = world.ended(&uid).await;
    if has(&world, "memory") {
        assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
    } else {
        // The allocator of the program is refused at the limit of a single process.
        assert_ne!(ended.exit_code, 0);
    }
    world.end().await;
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_pod() {
    let mut world = World::new();
    // Without a limit of processes it would hurt the machine that runs the tests, so it has one of its own then.
    let bound = if has(&world, "pids") { "" } else { "i=0; while test $i -lt 200; do sleep 607 & i=$((i+1)); done; echo up; wait; exit;" };
    let pod = world.pod(vec![script(&format!("{bound} b() {{ echo up; b | b & sleep 607; }}; b"))]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    eventually("it multiplies", || world.processes().len() > 100).await;
    let all = world.processes();
    world.stop(&uid).await;
    assert!(all.iter().all(|pid| !is_alive(*pid)), "all of it has ended");
    world.end().await;
}

#[tokio::test]
async fn a_limit_of_cpu_slows_a_program_down() {
    let mut world = World::new();
    if !has(&world, "cpu") {
        return world.end().await;
    }
    let mut app = script("while :; do :; done");
    app.cpu = Some(100);
    let pod = world.pod(vec![app]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    let throttled = |pid: i32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let own =
            groups.lines().find_map(|line| line.split_once(":cpu:").or_else(|| line.split_once("::"))).map(|(_, path)| path.to_owned());
        let stat = std::fs::read_to_string(format!("/sys/fs/cgroup/cpu{}/cpu.stat", own.clone().unwrap_or_default()))
            .or_else(|_| std::fs::read_to_string(format!("/sys/fs/cgroup{}/cpu.stat", own.unwrap_or_default())));
        stat.unwrap_or_default().lines().any(|line| line.strip_prefix("nr_throttled ").is_some_and(|count| count != "0"))
    };
    let program = world.program(&uid);
    eventually("it is held back", || throttled(program)).await;
    world.end().await;
}
