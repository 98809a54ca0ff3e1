//! Sets of objects that depend on each other: C3 and C6 of the research, by the binary on a real API server.

use std::time::Duration;

use integration::{Project, World, manifest, until};
use provision_apply::{Cluster, WriteMode};
use provision_model::{GroupKind, Manifest, ResourceId};
use serde_json::json;

/// A definition, a namespace, an object in it and an object of the new kind, in the most awkward order; `PLURAL` and `KIND` are the test's own.
const SET: &str = r#"
apiVersion: GROUP/v1
kind: Widget
metadata: {name: first, namespace: NAMESPACE-new}
spec: {size: SIZE}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: NAMESPACE-new}
---
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE-new}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, required: [size], properties: {size: {type: integer}}}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_its_objects_and_their_namespace_come_in_one_run() {
    let world = World::start().await;
    let namespace = format!("t-set-{}", std::process::id());
    let group = format!("{namespace}.example.com");
    let project = Project::new(world.lab.kubeconfig(), &namespace);

    // A mistake against the definition of the same set is found before anything is written.
    project.template(&SET.replace("GROUP", &group).replace("SIZE", "big"));
    let wrong = project.run(&["plan"]).expect(2);
    assert!(wrong.stderr.contains("spec.size") && wrong.stderr.contains("templates/platform/test.yaml:5"), "{}", wrong.stderr);

    project.template(&SET.replace("GROUP", &group).replace("SIZE", "3"));
    let plan = project.run(&["plan"]).expect(0);
    assert!(plan.stdout.contains("4 to create"), "{}", plan.stdout);
    project.run(&["up", "--yes"]).expect(0);
    project.run(&["plan", "--detailed-exit-code"]).expect(0);
    let widget = ResourceId::namespaced(&group, "Widget", &format!("{namespace}-new"), "first");
    assert!(world.cluster.get(&widget).await.unwrap().is_some());
    project.run(&["down", "--yes"]).expect(0);
    assert!(world.cluster.get(&ResourceId::cluster("", "Namespace", &format!("{namespace}-new"))).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_checked_by_the_definitions_that_the_cluster_has_and_no_others_are_read() {
    let world = World::start().await;
    let namespace = world.namespace("known").await;
    let group = format!("{namespace}.example.com");
    let definition = ResourceId::cluster("apiextensions.k8s.io", "CustomResourceDefinition", &format!("gadgets.{group}"));
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
    let known = manifest(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": definition.name},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}}));
    world.cluster.apply(&known, WriteMode::Persist).await.unwrap();
    let kind = GroupKind::new(&group, "Gadget");
    until("the kind is served", || async { world.cluster.api().await.ok().filter(|api| api.find(&kind, None).is_some()) }).await;

    let project = Project::new(world.lab.kubeconfig(), &namespace);
    let gadget = |kind: &str, spec: &str| {
        format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: g, namespace: NAMESPACE}}\nspec: {spec}\n")
    };
    let reads = |log: &str| -> Vec<String> {
        log.lines().filter_map(|line| Some(line.split_once("/customresourcedefinitions")?.1.split(' ').next()?.to_owned())).collect()
    };
    project.template("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: NAMESPACE}\n");
    assert_eq!(reads(&project.run(&["plan", "-vv"]).expect(0).stderr), [""; 0]);
    project.template(&gadget("Gadget", "{size: 1}"));
    assert_eq!(reads(&project.run(&["plan", "-vv"]).expect(0).stderr), [format!("/{}", definition.name)]);
    project.template(&gadget("Gadget", "{sise: 1}"));
    let wrong = project.run(&["plan"]).expect(2).stderr;
    assert!(wrong.contains("sise") && wrong.contains("templates/platform/test.yaml:4"), "{wrong}");
    // What is not served may be a slip of the pen: the definitions tell what is near.
    project.template(&gadget("Gadgett", "{size: 1}"));
    let near = project.run(&["plan"]).expect(2);
    assert!(near.all().contains("did you mean `Gadget`?"), "{}", near.all());
    world.lab.kubectl(&["delete", "crd", &definition.name]).unwrap();
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_names_are_taken_is_named_and_what_needs_it_is_skipped() {
    let world = World::start().await;
    let namespace = format!("t-taken-{}", std::process::id());
    let group = format!("{namespace}.example.com");
    let definition = ResourceId::cluster("apiextensions.k8s.io", "CustomResourceDefinition", &format!("gadgets.{group}"));
    let holder = manifest(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": definition.name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["widget"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}));
    world.cluster.apply(&holder, WriteMode::Persist).await.unwrap();
    let accepted = |it: &Manifest| it.value()["status"]["conditions"].to_string().contains("Established");
    until("the other definition is served", || async { world.cluster.get(&definition).await.ok().flatten().filter(accepted) }).await;

    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&SET.replace("GROUP", &group).replace("SIZE", "3"));
    let ended = project.run(&["up", "--yes", "-o", "json"]).expect(1);
    let last = ended.events().pop().unwrap();
    let failure = &last["summary"]["failures"][0];
    assert_eq!(failure["verdict"]["cause"], "conflict", "{last}");
    assert!(failure["verdict"]["message"].as_str().unwrap().contains("\"widget\" is already in use"), "{last}");
    assert!(ended.elapsed < Duration::from_secs(10), "{:?}", ended.elapsed);
    let skipped = last["summary"]["skipped"].to_string();
    assert!(skipped.contains("/first") && skipped.contains("CustomResourceDefinition/widgets"), "{last}");

    project.run(&["down", "--yes"]).expect(0);
    world.lab.kubectl(&["delete", "crd", &definition.name]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rings_and_doubles_are_refused_with_their_places_and_nothing_is_written() {
    let world = World::start().await;
    let namespace = world.namespace("rings").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    let map = |name: &str, after: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: NAMESPACE\n  annotations: {{provision.dev/depends-on: ConfigMap/{after}}}\n---\n"
        )
    };
    let free = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d, namespace: NAMESPACE}\n---\n";
    project.template(&[map("a", "b"), map("b", "c"), map("c", "a"), free.to_owned()].concat());
    let ring = project.run(&["up", "--yes"]).expect(2);
    for name in ["/a", "/b", "/c", "templates/platform/test.yaml:6"] {
        assert!(ring.stderr.contains(name), "{name}: {}", ring.stderr);
    }
    project.template(&(free.to_owned() + free));
    let double = project.run(&["up", "--yes"]).expect(2);
    assert!(
        double.stderr.contains("duplicate") && double.stderr.contains("test.yaml:1") && double.stderr.contains("test.yaml:5"),
        "{}",
        double.stderr
    );
    assert!(world.cluster.get(&ResourceId::namespaced("", "ConfigMap", &namespace, "d")).await.unwrap().is_none());
    world.forget(&namespace).await;
}
