use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use provision_local::{File, Mount, Restart, Volume, VolumeSource, WantedPod};

use super::world::{World, eventually, script};

fn mount(volume: &str, path: &str) -> Mount {
    Mount { volume: volume.to_owned(), path: path.into(), sub_path: None, read_only: false }
}

fn volume(name: &str, source: VolumeSource) -> Volume {
    Volume { name: name.to_owned(), source }
}

fn file(path: &str, content: &str) -> File {
    File { path: path.into(), content: content.into(), mode: 0o400 }
}

/// Runs a pod to its end and returns what it wrote.
async fn output(world: &mut World, mut pod: WantedPod) -> Vec<String> {
    pod.restart = Restart::Never;
    let uid = pod.uid.clone();
    world.want(pod).await;
    let ended = world.ended(&uid).await;
    let log = world.log(&uid, false).await;
    assert_eq!(ended.exit_code, 0, "{log:#?}");
    world.stop(&uid).await;
    log
}

#[tokio::test]
async fn a_claim_outlives_its_pods_and_another_folder_does_not() {
    let mut world = World::new();
    for expected in [["new", "new"], ["kept", "new"]] {
        let text = "for path in \"$DATA\" \"$TMP\"; do test -e $path/x && echo kept || echo new; touch $path/x; done";
        let mut app = script(text);
        app.mounts = vec![mount("data", "/var/data"), mount("tmp", "/tmp")];
        app.env = [("DATA", "/var/data"), ("TMP", "/tmp")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut pod = world.pod(vec![app]);
        pod.volumes =
            vec![volume("data", VolumeSource::Claim { name: "data-app-0".to_owned() }), volume("tmp", VolumeSource::Empty { limit: None })];
        assert_eq!(output(&mut world, pod).await, expected);
    }
    assert!(world.settings.state.join("volumes/test/data-app-0/x").exists());
    world.kubelet().remove_claim("test", "data-app-0").await.unwrap();
    assert!(!world.settings.state.join("volumes/test/data-app-0").exists());
    world.end().await;
}

#[tokio::test]
async fn mounted_paths_in_arguments_variables_and_the_folder_are_where_the_volume_is() {
    let mut world = World::new();
    let mut app = script("cat \"$1\" \"$CONFIG\"; cat one; echo \"$TMPDIR\"");
    app.args.extend(["sh", "/etc/app/one"].map(str::to_owned));
    app.env = vec![("CONFIG".to_owned(), "/etc/app/deep/two".to_owned())];
    app.working_dir = Some("/etc/app".into());
    app.mounts = vec![mount("config", "/etc/app"), mount("tmp", "/tmp")];
    let mut pod = world.pod(vec![app]);
    let files = vec![file("one", "1\n"), file("deep/two", "2\n")];
    pod.volumes = vec![volume("config", VolumeSource::Files(files)), volume("tmp", VolumeSource::Empty { limit: None })];
    let folder = world.settings.state.join("pods").join(&pod.uid).join("volumes/tmp");
    assert_eq!(output(&mut world, pod).await, ["1", "2", "1", &folder.to_string_lossy()]);
    world.end().await;
}

#[tokio::test]
async fn files_follow_their_objects_while_the_pod_runs() {
    let mut world = World::new();
    let mut app = script("exec sleep 600");
    app.mounts = vec![mount("config", "/etc/app")];
    let mut pod = world.pod(vec![app]);
    pod.volumes = vec![volume("config", VolumeSource::Files(vec![file("one", "old")]))];
    let uid = pod.uid.clone();
    world.want(pod.clone()).await;
    world.running(&uid).await;
    let path = world.settings.state.join("pods").join(&uid).join("volumes/config/one");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    pod.volumes = vec![volume("config", VolumeSource::Files(vec![file("one", "new")]))];
    world.want(pod).await;
    eventually("the file is new", || fs::read_to_string(&path).is_ok_and(|text| text == "new")).await;
    assert_eq!(world.container(&uid, "app").unwrap().restarts, 0);
    world.end().await;
}

#[tokio::test]
async fn a_part_of_a_volume_is_no_way_out_of_it() {
    let mut world = World::new();
    let mut app = script("true");
    app.mounts = vec![Mount { sub_path: Some("link/x".into()), ..mount("data", "/data") }];
    let mut pod = world.pod(vec![app]);
    pod.volumes = vec![volume("data", VolumeSource::Claim { name: "c".to_owned() })];
    let claim = world.settings.state.join("volumes/test/c");
    fs::create_dir_all(&claim).unwrap();
    std::os::unix::fs::symlink(world.folder.path(), claim.join("link")).unwrap();
    let uid = pod.uid.clone();
    world.want(pod).await;
    let message = world.waiting(&uid, "CreateContainerError").await;
    assert!(message.contains("link/x leads out of volume data"), "{message}");
    assert!(!world.folder.path().join("x").exists());
    world.end().await;
}

#[tokio::test]
async fn a_path_of_the_machine_that_is_not_there_is_named() {
    let mut world = World::new();
    let mut pod = world.pod(vec![script("true")]);
    pod.volumes = vec![volume("host", VolumeSource::Host { path: "/no/such".into() })];
    world.want(pod).await;
    world.event("FailedMount", "hostPath /no/such is not there").await;
    world.end().await;
}
