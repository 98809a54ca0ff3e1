use std::fs;
use std::time::Duration;

use provision_local::{Volume, VolumeSource};

use super::world::{World, script};

#[tokio::test]
async fn a_program_that_fills_its_log_fills_no_disk() {
    let mut world = World::new();
    let text =
        "i=0; while test $i -lt 40000; do echo \"line $i of a log that is far too long\"; i=$((i+1)); done; echo done; exec sleep 600";
    let pod = world.pod(vec![script(text)]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "done").await;
    let folder = world.run_folder(&uid);
    let logs = fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("log"));
    let bytes: u64 = logs.map(|entry| entry.metadata().unwrap().len()).sum();
    let limits = world.settings.log;
    assert!(bytes <= limits.bytes * u64::from(limits.files), "{bytes} bytes are kept");
    let log = world.log(&uid, false).await;
    assert_eq!(log[log.len() - 2], "line 39999 of a log that is far too long");
    world.end().await;
}

#[tokio::test]
async fn a_log_without_lines_and_one_of_a_pod_that_is_not_there() {
    let mut world = World::new();
    let pod = world.pod(vec![script("exec sleep 600")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.running(&uid).await;
    use provision_local::Kubelet as _;
    assert!(world.kubelet().logs(&uid, "app", false, 10).await.unwrap().is_empty());
    for (pod, container, previous) in
        [(uid.as_str(), "app", true), (uid.as_str(), "other", false), ("no-pod", "app", false), ("..", "app", false)]
    {
        let refused = world.kubelet().logs(pod, container, previous, 10).await;
        assert!(matches!(refused, Err(provision_local::KubeletError::NoLog { .. })), "{pod} {container} {previous}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_pod_with_a_name_that_leads_elsewhere_is_not_run() {
    let mut world = World::new();
    let good = world.pod(vec![script("exec sleep 600")]);
    let mut bad = good.clone();
    bad.uid = "../escape".to_owned();
    let mut claims = world.pod(vec![script("exec sleep 600")]);
    claims.volumes = vec![Volume { name: "data".to_owned(), source: VolumeSource::Claim { name: "../../../escape".to_owned() } }];
    let uid = good.uid.clone();
    world.wanted.pods = vec![bad, claims, good];
    world.tell().await;
    world.running(&uid).await;
    assert!(!world.pods.contains_key("../escape") && !world.settings.state.join("escape").exists());
    assert!(!world.folder.path().join("escape").exists());
    assert!(world.has_event("Failed", "\"../../../escape\" is no name of a folder"));
    world.wanted.pods.drain(..2);
    world.end().await;
}

#[tokio::test]
async fn a_program_that_closes_its_output_goes_on() {
    let mut world = World::new();
    let pod = world.pod(vec![script("echo up; exec >&- 2>&-; exec sleep 600")]);
    let uid = pod.uid.clone();
    world.want(pod).await;
    world.says(&uid, "up").await;
    world.listen().await;
    assert_eq!(world.running(&uid).await.restarts, 0);
    world.end().await;
}

#[tokio::test]
async fn many_pods_at_once_start_and_end() {
    let mut world = World::new();
    let mut uids = Vec::new();
    for _ in 0..12 {
        let mut pod = world.pod(vec![script("trap 'exit 0' TERM; while :; do sleep 0.05; done")]);
        pod.grace = Duration::from_secs(10);
        uids.push(pod.uid.clone());
        world.wanted.pods.push(pod);
    }
    world.tell().await;
    for uid in &uids {
        world.ready(uid).await;
    }
    world.end().await;
}
