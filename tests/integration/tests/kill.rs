//! `kill -9` anywhere: forty moments of an `up` that creates, changes, prunes and runs a Job; each is resumed to the same end.

use std::time::{Duration, Instant};

use integration::{Project, World, wait};
use provision_apply::Cluster;
use provision_model::{GroupKind, ResourceId};

/// Moments at which the run is killed.
const MOMENTS: u32 = 40;

/// Releases that are killed side by side.
const LANES: u32 = 5;

fn set(version: &str, keep: std::ops::Range<usize>) -> String {
    let maps: String = keep
        .map(|n| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{n}, namespace: NAMESPACE}}\ndata: {{version: \"{version}\"}}\n---\n"
            )
        })
        .collect();
    let job = format!(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {{name: once-{version}, namespace: NAMESPACE}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: "lab.local/busybox:1", imagePullPolicy: Never, command: [/bin/busybox, "true"]}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: after, namespace: NAMESPACE, annotations: {{provision.dev/depends-on: Job/once-{version}}}}}
data: {{version: "{version}"}}
"#
    );
    maps + &job
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kill_is_resumed_to_the_same_end() {
    let world = World::start().await;
    // A killed run's lock has to end first, so lanes with a release of their own wait side by side.
    let lanes = (0..LANES).map(|lane| kill_and_resume(&world, lane));
    futures::future::join_all(lanes).await;
}

/// Kills at every `LANES`-th moment, from `lane` on.
async fn kill_and_resume(world: &World, lane: u32) {
    let namespace = world.namespace(&format!("kill{lane}")).await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    let run = |verb: &str| {
        let started = Instant::now();
        let child = project.start(&[verb, "--yes"]);
        async move { tokio::task::spawn_blocking(move || wait(child, started)).await.unwrap().expect(0) }
    };
    project.template(&set("0", 0..14));
    run("up").await;
    project.template(&set("1", 2..16));
    let whole = run("up").await.elapsed;

    for moment in (lane..MOMENTS).step_by(LANES as usize) {
        let version = (moment + 2).to_string();
        // The set moves on by two each time: objects come, go and change.
        let from = (moment as usize + 2) * 2;
        project.template(&set(&version, from..from + 14));
        let started = Instant::now();
        let mut child = project.start(&["up", "--yes"]);
        tokio::time::sleep_until((started + whole * moment / MOMENTS).into()).await;
        child.kill().unwrap();
        let killed = wait(child, started);
        let ended = run("resume").await;
        assert!(ended.elapsed < Duration::from_secs(60), "{:?}", ended.elapsed);
        // Killed before it registered anything, there is nothing to resume: then the same `up` starts anew.
        run("up").await;
        check(world, &namespace, &version, from, &killed.stderr).await;
    }
    run("down").await;
    world.forget(&namespace).await;
}

/// Exactly the wanted objects with the wanted values; the Job ran once.
async fn check(world: &World, namespace: &str, version: &str, from: usize, context: &str) {
    let api = world.cluster.api().await.unwrap();
    let list = |group: &str, kind: &str| {
        let resource = api.find(&GroupKind::new(group, kind), None).unwrap().clone();
        async move { world.cluster.list(&resource, Some(namespace)).await.unwrap().items }
    };
    let mut names: Vec<String> = list("", "ConfigMap").await.iter().map(|object| object.name().to_owned()).collect();
    names.retain(|name| name != "kube-root-ca.crt");
    let mut wanted: Vec<String> = (from..from + 14).map(|n| format!("c-{n}")).chain(["after".to_owned()]).collect();
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted, "orphans or gaps at version {version}: {context}");
    for name in wanted {
        let object = world.cluster.get(&ResourceId::namespaced("", "ConfigMap", namespace, &name)).await.unwrap().unwrap();
        assert_eq!(object.text("/data/version"), Some(version), "{name}: {context}");
    }
    let jobs: Vec<String> = list("batch", "Job").await.iter().map(|object| object.name().to_owned()).collect();
    assert_eq!(jobs, [format!("once-{version}")], "{context}");
    let pods = list("", "Pod").await;
    let runs = pods.iter().filter(|pod| pod.name().starts_with(&format!("once-{version}-"))).count();
    assert_eq!(runs, 1, "the Job ran once at version {version}: {context}");
}
