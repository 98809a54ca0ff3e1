//! The verbs of a release, on this machine as on a cluster.

use std::time::Duration;

use machine::Machine;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_release_on_one_machine() {
    let machine = Machine::up();
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let feature = machine.send(&gateway, &repository, "badgers").await;
    machine.ended(&gateway, std::slice::from_ref(&feature), Duration::from_secs(60)).await;
    let code = |arguments: &[&str]| {
        let ended = machine.provision(arguments);
        assert!(ended.code.is_some(), "{ended:?}");
        (ended.code.unwrap(), format!("{}{}", ended.stdout, ended.stderr))
    };
    assert_eq!(code(&["plan", "--detailed-exit-code"]).0, 0);
    assert_eq!(code(&["drift"]).0, 0);
    let again = code(&["up", "--yes"]);
    assert!(again.0 == 0 && again.1.contains("0 to create, 0 to update"), "{again:?}");

    let worker = machine.processes_of("feature-worker");
    assert_eq!(worker.len(), 2);
    let restarted = code(&["restart", "feature-worker", "--yes"]);
    assert_eq!(restarted.0, 0, "{}", restarted.1);
    let renewed = machine.processes_of("feature-worker");
    assert!(renewed.len() == 2 && renewed.iter().all(|pid| !worker.contains(pid)), "{worker:?} {renewed:?}");
    assert_eq!(code(&["plan", "--detailed-exit-code"]).0, 0, "a restart is no difference");

    let logs = code(&["logs", "feature-worker", "--tail", "200"]);
    assert!(logs.0 == 0 && logs.1.contains("feature-worker-1 │") && logs.1.contains("partition assigned"), "{}", logs.1);

    let scaled = code(&["up", "--yes", "--set", "services.feature-worker.replicas=1"]);
    assert_eq!(scaled.0, 0, "{}", scaled.1);
    assert_eq!(machine.processes_of("feature-worker").len(), 1);
    let back = code(&["rollback", "--yes"]);
    assert_eq!(back.0, 0, "{}", back.1);
    assert_eq!(machine.processes_of("feature-worker").len(), 2);
    let history: Value = serde_json::from_str(&machine.provision(&["history", "-o", "json"]).stdout).unwrap();
    assert_eq!(history.as_array().map(Vec::len), Some(3), "{history}");

    let bad = code(&["up", "--yes", "--timeout", "60s", "--set", "services.git-service.env.GIT_CACHE_SIZE_MB=nonsense"]);
    assert!(bad.0 == 1 && bad.1.contains("GIT_CACHE_SIZE_MB"), "the cause is shown as on a cluster: {}", bad.1);
    assert_eq!(code(&["up", "--yes"]).0, 0);

    let down = code(&["down", "--yes"]);
    assert_eq!(down.0, 0, "{}", down.1);
    assert_eq!(machine.all_processes(), Vec::<String>::new(), "nothing is left");

    assert_eq!(code(&["up", "--yes"]).0, 0);
    let kept = machine.feature(&machine.endpoint("gateway"), &feature).await.map(|feature| feature.state);
    assert_eq!(kept.as_deref(), Some("COMPLETED"), "the database outlives `down`");
}
