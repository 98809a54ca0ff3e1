//! Why something does not come up: each cause named, with evidence, on a real kubelet; C14 of the research.

use std::time::Duration;

use integration::{Project, World, container, deployment, shell};
use serde_json::Value;

/// Runs `up` and returns its failures, by the name of the object.
async fn failures(world: &World, test: &str, template: &str) -> (Vec<Value>, Duration) {
    let namespace = world.namespace(test).await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(template);
    // As if the cluster had it: rendering would refuse a reference to nothing.
    let environment = project.path(&format!("environments/{namespace}.yaml"));
    let text = std::fs::read_to_string(&environment).unwrap();
    std::fs::write(
        environment,
        text.replace("provided:\n  objects:\n", &format!("provided:\n  objects:\n  - Secret/{namespace}/not-there\n")),
    )
    .unwrap();
    let ended = tokio::task::spawn_blocking({
        move || {
            let ended = project.run(&["up", "--yes", "-o", "json"]).expect(1);
            project.run(&["down", "--yes"]).expect(0);
            ended
        }
    })
    .await
    .unwrap();
    let last = ended.events().pop().unwrap();
    world.forget(&namespace).await;
    (last["summary"]["failures"].as_array().unwrap().clone(), ended.elapsed)
}

fn cause_of<'f>(failures: &'f [Value], name: &str) -> &'f Value {
    let found =
        failures.iter().find(|failure| failure["resource"].as_str().is_some_and(|resource| resource.ends_with(&format!("/{name}"))));
    found.unwrap_or_else(|| panic!("no failure of {name} in {failures:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_exits_is_named_with_code_and_log_within_ten_seconds() {
    let world = World::start().await;
    let (failures, elapsed) = failures(&world, "exits", &deployment("exits", &shell("echo last words; exit 3"))).await;
    let verdict = &cause_of(&failures, "exits")["verdict"];
    assert_eq!(verdict["cause"], "crash-loop", "{verdict}");
    assert_eq!(verdict["evidence"]["exit_code"], 3, "{verdict}");
    assert!(verdict["evidence"]["logs"].to_string().contains("last words"), "{verdict}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named_within_ten_seconds() {
    let world = World::start().await;
    let spec = "      containers: [{name: main, image: \"127.0.0.1:5000/no-such-image:1\"}]";
    let (failures, elapsed) = failures(&world, "noimage", &deployment("noimage", spec)).await;
    let verdict = &cause_of(&failures, "noimage")["verdict"];
    assert_eq!(verdict["cause"], "image-pull", "{verdict}");
    assert!(verdict.to_string().contains("no-such-image"), "{verdict}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_are_reported_together_and_the_good_branch_goes_on() {
    let world = World::start().await;
    let unschedulable = container("        command: [/bin/busybox, sleep, \"1000\"]\n        resources: {requests: {cpu: \"1000\"}}");
    let missing = container("        command: [/bin/busybox, sleep, \"1000\"]\n        envFrom: [{secretRef: {name: not-there}}]");
    let job = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: fails, namespace: NAMESPACE}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "lab.local/busybox:1", imagePullPolicy: Never, command: [/bin/busybox, sh, -c, "echo broken; exit 7"]}]
---
"#;
    let good = deployment("good", &shell("sleep 1000"));
    let template = [deployment("big", &unschedulable), deployment("needs", &missing), job.to_owned(), good].concat();
    let (failures, elapsed) = failures(&world, "three", &template).await;
    let causes: Vec<&Value> = ["big", "needs", "fails"].map(|name| &cause_of(&failures, name)["verdict"]["cause"]).into();
    assert_eq!(causes, ["unschedulable", "config-missing", "job-failed"], "{failures:?}");
    assert_eq!(failures.len(), 3, "{failures:?}");
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_probe_and_a_deadline_end_only_their_own_object() {
    let world = World::start().await;
    let probe = shell("sleep 1000").to_owned()
        + "\n        readinessProbe: {exec: {command: [/bin/busybox, \"false\"]}, periodSeconds: 1, failureThreshold: 2}";
    let (failures, _) = failures(&world, "probe", &deployment("probe", &probe)).await;
    let verdict = &cause_of(&failures, "probe")["verdict"];
    assert_eq!(verdict["cause"], "probe", "{verdict}");
}
