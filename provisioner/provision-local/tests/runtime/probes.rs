use std::fs;
use std::time::Duration;

use provision_local::{Check, ContainerState, Probe, WantedPod};

use super::world::{World, container, eventually};

const PORT: u16 = 8080;

fn probe(path: &str) -> Probe {
    Probe {
        check: Check::Http { port: PORT, path: format!("/{path}"), headers: Vec::new(), tls: false },
        initial_delay: Duration::ZERO,
        period: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        success_threshold: 1,
        failure_threshold: 3,
    }
}

/// Builds a pod that answers GETs; a file `NAME` in the folder makes `/NAME` fail.
fn server(world: &mut World) -> WantedPod {
    let mut pod = world.pod(Vec::new());
    let address = format!("{}:{PORT}", pod.address);
    pod.containers.push(container("parts", &["serve", &address, &world.folder.path().to_string_lossy()]));
    pod
}

#[tokio::test]
async fn readiness_follows_its_probe() {
    let mut world = World::new();
    let mut pod = server(&mut world);
    pod.containers[0].readiness = Some(probe("ready"));
    let (uid, switch) = (pod.uid.clone(), world.folder.path().join("ready"));
    fs::write(&switch, "").unwrap();
    world.want(pod).await;
    world.event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503").await;
    assert!(!world.container(&uid, "app").unwrap().ready);
    fs::remove_file(&switch).unwrap();
    world.ready(&uid).await;
    fs::write(&switch, "").unwrap();
    world.until("it is not ready", |world| (!world.container(&uid, "app")?.ready).then_some(())).await;
    assert_eq!(world.container(&uid, "app").unwrap().restarts, 0, "readiness ends nothing");
    world.end().await;
}

#[tokio::test]
async fn a_dead_program_is_started_again() {
    let mut world = World::new();
    let mut pod = server(&mut world);
    (pod.containers[0].liveness, pod.grace) = (Some(probe("live")), Duration::from_millis(200));
    let (uid, switch) = (pod.uid.clone(), world.folder.path().join("live"));
    world.want(pod).await;
    world.running(&uid).await;
    fs::write(&switch, "").unwrap();
    world.event("Killing", "Container app failed liveness probe, will be restarted").await;
    fs::remove_file(&switch).unwrap();
    world.until("it runs again", |world| (world.container(&uid, "app")?.restarts >= 1).then_some(())).await;
    assert!(world.has_event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503"));
    world.end().await;
}

#[tokio::test]
async fn other_probes_wait_for_the_one_of_the_start() {
    let mut world = World::new();
    let mut pod = server(&mut world);
    pod.containers[0].startup = Some(Probe { failure_threshold: 1000, ..probe("start") });
    pod.containers[0].liveness = Some(Probe { failure_threshold: 1, ..probe("live") });
    let (uid, folder) = (pod.uid.clone(), world.folder.path().to_owned());
    fs::write(folder.join("start"), "").unwrap();
    fs::write(folder.join("live"), "").unwrap();
    world.want(pod).await;
    for _ in 0..5 {
        world.events.clear();
        world.event("Unhealthy", "Startup probe failed").await;
    }
    let report = world.container(&uid, "app").unwrap();
    assert!(!report.ready && report.restarts == 0);
    fs::remove_file(folder.join("live")).unwrap();
    fs::remove_file(folder.join("start")).unwrap();
    world.ready(&uid).await;
    world.end().await;
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_ended() {
    let mut world = World::new();
    let mut pod = world.pod(vec![container("sh", &["-c", "exec sleep 600"])]);
    pod.containers[0].startup = Some(Probe { check: Check::Tcp { port: 1 }, ..probe("") });
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.event("Killing", "Container app failed startup probe, will be restarted").await;
    assert!(world.has_event("Unhealthy", "connect: connection refused"));
    world.until("it is started again", |world| (world.container(&uid, "app")?.restarts >= 1).then_some(())).await;
    world.end().await;
}

#[tokio::test]
async fn connections_and_commands_are_probes_too() {
    let mut world = World::new();
    let mut pod = server(&mut world);
    pod.containers[0].env = vec![("WORD".to_owned(), "secret".to_owned())];
    let exec = |text: &str| Check::Exec { command: ["sh", "-c", text].map(str::to_owned).to_vec() };
    pod.containers[0].startup = Some(Probe { check: Check::Tcp { port: PORT }, failure_threshold: 1000, ..probe("") });
    pod.containers[0].readiness = Some(Probe { check: exec("test $WORD = secret"), ..probe("") });
    let mut bad = world.pod(vec![container("sh", &["-c", "exec sleep 600"])]);
    bad.containers[0].readiness = Some(Probe { check: exec("echo no good; exit 4"), ..probe("") });
    let uid = pod.uid.clone();
    world.want(bad).await;
    world.event("Unhealthy", "Readiness probe failed: command exited with 4: no good").await;
    world.want(pod).await;
    world.ready(&uid).await;
    world.end().await;
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_it_started() {
    let mut world = World::new();
    let mut pod = world.pod(vec![container("sh", &["-c", "exec sleep 600"])]);
    let hangs = Check::Exec { command: ["sh", "-c", "(setsid sleep 605 &); sleep 606"].map(str::to_owned).to_vec() };
    pod.containers[0].readiness = Some(Probe { check: hangs, timeout: Duration::from_millis(200), ..probe("") });
    world.want(pod).await;
    world.event("Unhealthy", "timed out").await;
    world.end().await;
}

#[tokio::test]
async fn a_command_whose_answer_nobody_waits_for_ends() {
    let mut world = World::new();
    let mut pod = world.pod(vec![container("sh", &["-c", "exec sleep 600"])]);
    let hangs = Check::Exec { command: ["sh", "-c", "(setsid sleep 608 &); sleep 609"].map(str::to_owned).to_vec() };
    pod.containers[0].readiness = Some(Probe { check: hangs, timeout: Duration::from_secs(3600), ..probe("") });
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    eventually("the command runs", || world.processes().len() >= 5).await;
    world.drop_supervisor();
    eventually("only the keeper and its program are left", || world.processes().len() == 2).await;
    world.end().await;
}

#[tokio::test]
async fn grpc_is_asked_by_its_health_protocol() {
    let mut world = World::new();
    let mut pod = world.pod(vec![container("sh", &["-c", "exec sleep 600"])]);
    // Served by the test itself, at the address of the pod.
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("feature", tonic_health::ServingStatus::NotServing).await;
    let at = std::net::SocketAddr::from((pod.address, PORT));
    let server = tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(at));
    pod.containers[0].readiness = Some(Probe { check: Check::Grpc { port: PORT, service: "feature".to_owned() }, ..probe("") });
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.event("Unhealthy", "service unhealthy (responded with \"NOT_SERVING\")").await;
    reporter.set_service_status("feature", tonic_health::ServingStatus::Serving).await;
    world.ready(&uid).await;
    server.abort();
    world.end().await;
}

#[tokio::test]
async fn readiness_outlives_the_supervisor() {
    let mut world = World::new();
    let mut pod = server(&mut world);
    // Asked once only: what is told after the restart was not found out again.
    pod.containers[0].readiness = Some(probe("ready"));
    let uid = pod.uid.clone();
    world.want(pod.clone()).await;
    world.ready(&uid).await;
    for known in &mut world.wanted.pods {
        known.containers[0].readiness =
            Some(Probe { initial_delay: Duration::from_secs(3600), period: Duration::from_secs(3600), ..probe("ready") });
    }
    world.restart_supervisor().await;
    let first = world.until("it is told", |world| world.container(&uid, "app").cloned()).await;
    assert!(first.ready && matches!(first.state, ContainerState::Running { .. }));
    world.end().await;
}
