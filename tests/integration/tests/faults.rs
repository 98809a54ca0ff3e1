//! What goes wrong outside: each is named, nothing is half-done, and everything can be resumed.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use integration::{Project, World, deployment, manifest, shell, until, wait};
use provision_apply::{Cluster, WriteMode};
use provision_model::ResourceId;
use serde_json::json;

fn config_maps(count: usize) -> String {
    (0..count)
        .map(|n| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{n}, namespace: NAMESPACE}}\ndata: {{number: \"{n}\"}}\n---\n")
        })
        .collect()
}

/// A Deployment that becomes ready only after `seconds`.
fn slow(seconds: u32) -> String {
    let probe = "\n        readinessProbe: {exec: {command: [/bin/busybox, test, -e, /tmp/ready]}, periodSeconds: 1, failureThreshold: 60}";
    deployment("slow", &(shell(&format!("sleep {seconds}; touch /tmp/ready; sleep 1000")) + probe))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_named_with_its_address() {
    let world = World::start().await;
    let project = Project::new(world.lab.kubeconfig(), "away");
    project.template(&config_maps(1));
    let nobody = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    project.write("nobody.kubeconfig", &nobody.to_string());
    let file = project.path("nobody.kubeconfig");
    let ended = project.run(&["up", "--yes", "--kubeconfig", file.to_str().unwrap()]).expect(1);
    assert!(ended.stderr.contains("127.0.0.1:1") && ended.stderr.contains("next:"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_and_missing_rights_are_named_before_anything_is_written() {
    let world = World::start().await;
    let namespace = world.namespace("rights").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&config_maps(2));
    let kubeconfig = project.path("user.kubeconfig");
    std::fs::copy(world.lab.kubeconfig(), &kubeconfig).unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let as_user = |token: &str| {
        world.lab.kubectl(&["config", "set-credentials", "someone", "--token", token, "--kubeconfig", kubeconfig]).unwrap();
        world.lab.kubectl(&["config", "set-context", "--current", "--user", "someone", "--kubeconfig", kubeconfig]).unwrap();
    };
    let up = ["up", "--yes", "--kubeconfig", kubeconfig];

    as_user("not-a-token");
    let ended = project.run(&up).expect(1);
    assert!(ended.stderr.contains("credentials") && ended.stderr.contains("log in again"), "{}", ended.stderr);

    // May read everything and write nothing: the missing rights are named, by verb and kind.
    world.lab.kubectl(&["create", "serviceaccount", "reader", "-n", &namespace]).unwrap();
    let account = format!("{namespace}:reader");
    let binding = format!("{namespace}-reader");
    world.lab.kubectl(&["create", "clusterrolebinding", &binding, "--clusterrole=view", "--serviceaccount", &account]).unwrap();
    as_user(world.lab.kubectl(&["create", "token", "reader", "-n", &namespace]).unwrap().trim());
    let ended = project.run(&up);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert!(ended.stderr.contains("patch") && ended.stderr.contains("configmaps") && ended.stderr.contains(&namespace), "{}", ended.stderr);
    assert!(world.cluster.get(&ResourceId::namespaced("", "ConfigMap", &namespace, "c-0")).await.unwrap().is_none());
    world.lab.kubectl(&["delete", "clusterrolebinding", &binding]).unwrap();
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_killed_in_mid_run_is_waited_for() {
    let world = World::start().await;
    let namespace = world.namespace("killed").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&(config_maps(40) + &slow(6)));
    let started = Instant::now();
    let child = project.start(&["up", "--yes"]);
    let last = ResourceId::namespaced("apps", "Deployment", &namespace, "slow");
    until("the Deployment is written", || async { world.cluster.get(&last).await.ok().flatten() }).await;
    world.lab.crash_server("kube-apiserver").unwrap();
    wait(child, started).expect(0);
    project.run(&["plan", "--detailed-exit-code"]).expect(0);
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_never_ends_is_named() {
    let world = World::start().await;
    let namespace = world.namespace("finalizer").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  namespace: NAMESPACE\n  finalizers: [example.com/never]\n  annotations: {provision.dev/timeout: 3s}\n---\n";
    project.template(&(config_maps(2) + held));
    project.run(&["up", "--yes"]).expect(0);
    project.template(&config_maps(2));
    let ended = project.run(&["up", "--yes", "-o", "json"]).expect(1);
    let last = ended.events().pop().unwrap();
    assert_eq!(last["summary"]["failures"][0]["verdict"]["cause"], "finalizer", "{last}");
    assert!(last.to_string().contains("example.com/never"), "{last}");
    world
        .lab
        .kubectl(&["patch", "configmap", "held", "-n", &namespace, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
        .unwrap();
    project.run(&["up", "--yes"]).expect(0);
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admission_policy_that_refuses_is_named_and_the_rest_goes_on() {
    let world = World::start().await;
    let namespace = world.namespace("admission").await;
    let policy = manifest(json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": "object.metadata.name != 'refused'", "message": "no such name here"}]}}));
    let binding = manifest(json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}}));
    world.cluster.apply(&policy, WriteMode::Persist).await.unwrap();
    world.cluster.apply(&binding, WriteMode::Persist).await.unwrap();
    let refused = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: refused, namespace: NAMESPACE}\n";
    let probe = manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "refused", "namespace": namespace}}));
    until("the policy is in force", || async { world.cluster.apply(&probe, WriteMode::DryRun).await.err() }).await;

    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&(config_maps(2) + refused));
    let ended = project.run(&["up", "--yes", "-o", "json"]).expect(1);
    let last = ended.events().pop().unwrap();
    assert_eq!(last["summary"]["failures"][0]["verdict"]["cause"], "admission", "{last}");
    assert!(last.to_string().contains("no such name here"), "{last}");
    assert!(world.cluster.get(&ResourceId::namespaced("", "ConfigMap", &namespace, "c-1")).await.unwrap().is_some(), "the rest went on");
    world.cluster.delete(&binding.id(), None).await.unwrap();
    world.cluster.delete(&policy.id(), None).await.unwrap();
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_told_who_holds_the_lock_and_takes_over_from_a_killed_one() {
    let world = World::start().await;
    let namespace = world.namespace("locked").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&(config_maps(3) + &slow(30)));
    let mut first = project.start(&["up", "--yes"]);
    let last = ResourceId::namespaced("apps", "Deployment", &namespace, "slow");
    until("the first run waits for its Deployment", || async { world.cluster.get(&last).await.ok().flatten() }).await;
    let ended = project.run(&["resume", "--yes", "--no-wait-lock"]).expect(5);
    assert!(ended.stderr.contains("locked by") && ended.stderr.contains(&format!("pid {}", first.id())), "{}", ended.stderr);

    first.kill().unwrap();
    first.wait().unwrap();
    let killed = Instant::now();
    project.template(&config_maps(3));
    let ended = project.run(&["up", "--yes", "-o", "json"]).expect(0);
    let events = ended.events();
    let taken = events.iter().find(|event| event["event"] == "run_started").unwrap_or_else(|| panic!("{}", ended.stdout));
    let waited = ended.elapsed;
    assert!(waited < Duration::from_secs(20), "{waited:?} after the kill at {killed:?}: {taken}");
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_written_stops_the_run_before_the_first_object() {
    let world = World::start().await;
    let namespace = world.namespace("full").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&config_maps(3));
    let state = manifest(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "provision-system"}}));
    world.cluster.apply(&state, WriteMode::Persist).await.unwrap();
    let quota =
        manifest(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": "provision-system"},
        "spec": {"hard": {"count/configmaps": "1"}}}));
    world.cluster.apply(&quota, WriteMode::Persist).await.unwrap();
    let id = quota.id();
    until("the quota is counted", || async {
        world.cluster.get(&id).await.ok()??.text("/status/used/count~1configmaps").map(str::to_owned)
    })
    .await;
    let ended = project.run(&["up", "--yes"]);
    assert!(matches!(ended.code, Some(1 | 4)), "{ended:?}");
    assert!(ended.stderr.contains("quota"), "{}", ended.stderr);
    assert!(world.cluster.get(&ResourceId::namespaced("", "ConfigMap", &namespace, "c-0")).await.unwrap().is_none(), "{}", ended.stderr);
    world.cluster.delete(&id, None).await.unwrap();
    until("the quota is gone", || async { world.cluster.get(&id).await.ok()?.is_none().then_some(()) }).await;
    project.run(&["up", "--yes"]).expect(0);
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_project_folder_is_enough() {
    let world = World::start().await;
    let namespace = world.namespace("readonly").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&config_maps(2));
    let state = tempfile::tempdir().unwrap();
    let folder = project.path("");
    let folder = folder.to_str().unwrap();
    let script = format!("mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec \"$@\"");
    let up = project.command(&["up", "--yes", "--state", state.path().to_str().unwrap()]);
    let ended = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(up.get_program())
        .args(up.get_args())
        .envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_between_steps_and_the_run_is_resumed() {
    let world = World::start().await;
    let namespace = world.namespace("ctrlc").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&(config_maps(3) + &slow(8)));
    let started = Instant::now();
    let child = project.start(&["up", "--yes"]);
    let last = ResourceId::namespaced("apps", "Deployment", &namespace, "slow");
    until("the run waits for its Deployment", || async { world.cluster.get(&last).await.ok().flatten() }).await;
    world.interrupt(child.id());
    let ended = wait(child, started).expect(130);
    assert!(ended.stderr.contains("provision resume"), "{}", ended.stderr);
    project.run(&["resume", "--yes"]).expect(0);
    project.run(&["resume", "--yes"]).expect(0);
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_twice_leaves_a_run_that_cannot_end_and_it_is_resumed() {
    let world = World::start().await;
    let namespace = world.namespace("twice").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    project.template(&(config_maps(3) + &slow(4)));
    let mut child = project.start(&["up", "--yes"]);
    let last = ResourceId::namespaced("apps", "Deployment", &namespace, "slow");
    until("the Deployment is written", || async { world.cluster.get(&last).await.ok().flatten() }).await;
    // Nobody answers any more: the run can neither go on nor close its record.
    world.lab.stop_server("kube-apiserver").unwrap();
    world.interrupt(child.id());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let warned = said.any(|line| line.contains("press Ctrl-C again"));
    let again = Instant::now();
    world.interrupt(child.id());
    let left = said.any(|line| line.contains("provision resume"));
    let code = child.wait().unwrap().code();
    let elapsed = again.elapsed();
    world.lab.start_server("kube-apiserver").unwrap();
    assert!(warned && left && code == Some(130) && elapsed < Duration::from_secs(2), "{warned} {left} {code:?} {elapsed:?}");
    project.run(&["resume", "--yes"]).expect(0);
    project.run(&["plan", "--detailed-exit-code"]).expect(0);
    project.run(&["down", "--yes"]).expect(0);
    world.forget(&namespace).await;
}
