//! One feature from the request to the branch.

use std::process::Command;
use std::time::Duration;

use machine::Machine;
use serde_json::json;
use sha2::{Digest, Sha256};

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_becomes_a_branch_with_artifacts_and_events() {
    let machine = Machine::up();
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let id = machine.send(&gateway, &repository, "otters").await;
    assert_eq!(machine.send(&gateway, &repository, "otters").await, id, "the same key is the same feature");
    let ended = machine.ended(&gateway, std::slice::from_ref(&id), Duration::from_secs(60)).await;
    assert_eq!(ended[0].state, "COMPLETED", "{:?}", ended[0].told);

    let branch = format!("feature/{id}");
    assert_eq!(ended[0].told["branch"], branch.as_str());
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    git(&["clone", "--quiet", "--branch", &branch, &repository, work.to_str().unwrap()]);
    let changed = git(&["-C", work.to_str().unwrap(), "diff", "--name-only", "origin/main", "HEAD"]);
    assert!(changed.starts_with("features/") && changed.ends_with(".md") && changed.lines().count() == 1, "{changed}");

    let artifacts = ended[0].told["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 2, "{artifacts:?}");
    for artifact in artifacts {
        let (status, content) = machine.fetch(artifact["url"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{artifact}");
        assert_eq!(hex::encode(Sha256::digest(&content)), artifact["sha256"].as_str().unwrap());
    }

    let (_, timeline) = machine.call(&gateway, "Timeline", &json!({"id": id})).await.unwrap();
    let steps: Vec<&str> = timeline["steps"].as_array().unwrap().iter().map(|step| step["step_type"].as_str().unwrap()).collect();
    assert_eq!(steps, ["look", "plan", "patch", "push", "verify", "artifacts"]);
    let on_the_bus = machine.events_on_the_bus().await;
    let told: Vec<i64> = on_the_bus[&id].iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (0..i64::try_from(timeline["events"].as_array().unwrap().len()).unwrap()).collect();
    assert_eq!(told, expected, "the bus tells what the timeline tells, once and in order");
}
