//! Fifty features run while something is killed: each ends, none twice, none lost, its events complete and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use machine::{Feature, Machine, kill_hard, until};
use sqlx::Row;

const FEATURES: usize = 50;
const BUS: &str = "local-bus";

/// Sends fifty features, kills `victims` when the first of them are under way, and counts what came of it.
async fn survives(machine: &Machine, round: &str, victims: impl Fn(&Machine) -> Vec<i32>) {
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let mut ids = Vec::new();
    for number in 0..FEATURES {
        ids.push(machine.send(&gateway, &repository, &format!("{round} {number}")).await);
    }
    let first = ids[0].clone();
    until("the first feature is under way", async || machine.feature(&gateway, &first).await.filter(|feature| feature.state != "PENDING"))
        .await;
    let killed = victims(machine);
    assert!(!killed.is_empty(), "{round}: there is nothing to kill");
    killed.into_iter().for_each(kill_hard);
    let ended = machine.ended(&gateway, &ids, Duration::from_secs(300)).await;
    judge(machine, round, &repository, &ids, &ended).await;
}

async fn judge(machine: &Machine, round: &str, repository: &str, ids: &[String], ended: &[Feature]) {
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), FEATURES, "{round}: two features share an id");
    for feature in ended {
        let failed_with_reason = feature.state == "FAILED" && feature.told["error"].as_str().is_some_and(|error| !error.is_empty());
        assert!(feature.state == "COMPLETED" || failed_with_reason, "{round}: {feature:?}");
    }
    let database = machine.database().await;
    let rows = sqlx::query("SELECT count(*) FROM feature_executions WHERE idempotency_key LIKE $1 || ' %'").bind(round);
    let count: i64 = rows.fetch_one(&database).await.unwrap().get(0);
    assert_eq!(usize::try_from(count).unwrap(), FEATURES, "{round}: none twice, none lost");
    let branches = Command::new("git").args(["ls-remote", "--heads", repository]).output().unwrap();
    let branches = String::from_utf8_lossy(&branches.stdout).into_owned();
    for feature in ended.iter().filter(|feature| feature.state == "COMPLETED") {
        let branch = format!("refs/heads/feature/{}", feature.id);
        assert_eq!(branches.lines().filter(|line| line.ends_with(&branch)).count(), 1, "{round}: {branch}");
    }
    let recorded = recorded(&database, ids).await;
    // The outbox may be a moment behind the last transition.
    let wrong = until_told(machine, &recorded, round == BUS).await;
    assert!(wrong.is_empty(), "{round}: {wrong:#?}");
}

/// Reads the sequences of events in the database, by feature.
async fn recorded(database: &sqlx::PgPool, ids: &[String]) -> BTreeMap<String, Vec<i64>> {
    let query = "SELECT feature_execution_id::text, sequence::bigint FROM execution_events \
                 WHERE feature_execution_id::text = ANY($1) ORDER BY feature_execution_id, sequence";
    let mut events: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in sqlx::query(query).bind(ids).fetch_all(database).await.unwrap() {
        events.entry(row.get(0)).or_default().push(row.get(1));
    }
    for (id, sequences) in &events {
        let whole: Vec<i64> = (0..i64::try_from(sequences.len()).unwrap()).collect();
        assert_eq!(*sequences, whole, "the events of {id} have no gap");
    }
    assert_eq!(events.len(), ids.len());
    events
}

/// Waits until the bus tells of all features what the database does; returns what it still does not.
///
/// A bus that forgot may lack the events of features that had ended before, so those that it holds must be in order and reach the end;
/// an event that is told again was told before. What was on its way to it when it ended may come first: then all is told from the beginning.
async fn until_told(machine: &Machine, recorded: &BTreeMap<String, Vec<i64>>, forgot: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for _ in 0..50 {
        let told = machine.events_on_the_bus().await;
        wrong = recorded.iter().filter_map(|(id, sequences)| complaint(id, told.get(id)?, sequences, forgot)).collect();
        if wrong.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    wrong
}

fn complaint(id: &str, told: &[serde_json::Value], recorded: &[i64], forgot: bool) -> Option<String> {
    let sequences: Vec<i64> = told.iter().filter_map(|event| event["sequence"].as_i64()).collect();
    let beginning = if forgot { sequences.iter().rposition(|sequence| *sequence == 0).unwrap_or(0) } else { 0 };
    let mut highest = None;
    for sequence in &sequences[beginning..] {
        let expected = highest.map_or(0, |highest| highest + 1);
        if *sequence > expected {
            return Some(format!("{id}: {sequence} came before {expected}: {sequences:?}"));
        }
        highest = highest.max(Some(*sequence));
    }
    (highest != recorded.last().copied()).then(|| format!("{id}: the bus ends with {highest:?}, the database with {:?}", recorded.last()))
}

async fn each_survives(machine: &Machine, programs: &[&str]) {
    for program in programs {
        survives(machine, program, |machine| machine.processes_of(program)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_features_survive_the_kill_of_the_supervisor_and_of_each_service() {
    let machine = Machine::up();
    survives(&machine, "supervisor", |machine| machine.supervisor().into_iter().collect()).await;
    let services =
        ["feature-worker", "feature-service", "git-service", "llm-orchestrator", "sandbox-manager", "repository-service", "api-gateway"];
    each_survives(&machine, &services).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_features_survive_the_kill_of_each_backing_part() {
    each_survives(&Machine::up(), &["local-postgres", BUS, "local-store", "local-models", "local-git"]).await;
}
