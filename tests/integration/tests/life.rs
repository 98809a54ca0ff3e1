//! One release from its first `up` to its `down`, by the binary on a real API server.

use integration::{Project, World, manifest, until};
use provision_apply::{Cluster, WriteMode};
use provision_model::ResourceId;
use serde_json::json;

const FIRST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {colour: blue}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: leaves, namespace: NAMESPACE}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: lab.local/busybox:1
        imagePullPolicy: Never
        command: [/bin/busybox, httpd, -f, -p, "8080", -h, /]
        envFrom: [{configMapRef: {name: settings}}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /bin/busybox, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: web, port: 80, targetPort: http}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn up_drift_rollback_down() {
    let world = World::start().await;
    let namespace = world.namespace("life").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(FIRST);
    let run = |arguments: &[&str]| project.run(arguments);

    run(&["up"]).expect(5);
    let plan = run(&["plan", "--detailed-exit-code"]).expect(3);
    assert!(plan.stdout.contains("4 to create"), "{}", plan.stdout);
    let up = run(&["up", "--yes", "-o", "json"]).expect(0);
    let events = up.events();
    assert_eq!(events.last().map(|event| event["event"].clone()), Some(json!("run_finished")), "{}", up.stdout);
    run(&["plan", "--detailed-exit-code"]).expect(0);
    run(&["status"]).expect(0);
    run(&["drift"]).expect(0);

    // Someone edits by hand: found, attributed, and put back by the next `up`.
    let settings = ResourceId::namespaced("", "ConfigMap", &namespace, "settings");
    let live = world.cluster.get(&settings).await.unwrap().unwrap();
    let mut edited = live.value().clone();
    edited["data"]["colour"] = json!("red");
    world.cluster.update(&manifest(edited)).await.unwrap();
    let drift = run(&["drift"]).expect(3);
    assert!(drift.stdout.contains("settings") && drift.stdout.contains("data.colour") && drift.stdout.contains("red"), "{}", drift.stdout);
    run(&["up", "--yes"]).expect(0);
    assert_eq!(world.cluster.get(&settings).await.unwrap().unwrap().text("/data/colour"), Some("blue"));

    // An object leaves the set: pruned; a rollback brings it back.
    let leaves = ResourceId::namespaced("", "ConfigMap", &namespace, "leaves");
    let without: String = FIRST.replace("name: leaves", "name: comes").replace("colour: blue", "colour: green");
    project.template(&without);
    run(&["up", "--yes"]).expect(0);
    assert!(world.cluster.get(&leaves).await.unwrap().is_none(), "pruned");
    run(&["rollback", "--to", "1", "--yes"]).expect(0);
    assert!(world.cluster.get(&leaves).await.unwrap().is_some(), "restored");
    assert_eq!(world.cluster.get(&settings).await.unwrap().unwrap().text("/data/colour"), Some("blue"));
    let history = run(&["history"]).expect(0);
    assert!(history.stdout.contains("rollback to 1"), "{}", history.stdout);

    // Not ours: it survives `down`.
    let foreign = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": namespace}}));
    world.cluster.apply(&foreign, WriteMode::Persist).await.unwrap();
    run(&["down", "--yes"]).expect(0);
    assert!(world.cluster.get(&foreign.id()).await.unwrap().is_some());
    assert!(world.cluster.get(&settings).await.unwrap().is_none());
    until("the pods are gone", || async {
        let api = world.cluster.api().await.ok()?;
        let pods = api.find(&provision_model::GroupKind::new("", "Pod"), None)?;
        world.cluster.list(pods, Some(&namespace)).await.ok()?.items.is_empty().then_some(())
    })
    .await;
    world.forget(&namespace).await;
}
