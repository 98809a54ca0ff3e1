//! The way of a feature with faults at every place: the journal and the upstreams are in memory, the driver is the real one.

use std::time::Duration;

use feature_api::feature::State;
use uuid::Uuid;

use super::*;
use crate::journal::memory::MemoryJournal;
use crate::upstreams::memory::MemoryUpstreams;
use crate::upstreams::{Ran, UpstreamError};

const ID: Uuid = Uuid::from_u128(7);
/// Every call of a feature's way, in its order.
const CALLS: [&str; 10] = ["resolve", "look", "record_head", "plan", "read", "patch", "apply", "run", "store", "store"];
const TRIES: u32 = 3;

const ALL: &str = "feature.created, state_changed ANALYZING, step.started look, step.completed look, state_changed PLANNING, \
    step.started plan, step.completed plan, state_changed EXECUTING, step.started patch, step.completed patch, step.started push, \
    step.completed push, state_changed VERIFYING, step.started verify, step.completed verify, step.started artifacts, \
    step.completed artifacts, state_changed COMPLETED";

fn driver(journal: &MemoryJournal, upstreams: &MemoryUpstreams) -> Driver<MemoryJournal, MemoryUpstreams> {
    let options = Options {
        concurrency: 4,
        tries: TRIES,
        backoff: Duration::from_millis(1),
        watch: Duration::from_millis(10),
        artifacts_kept: Duration::from_secs(3600),
    };
    Driver::new(journal.clone(), upstreams.clone(), options, Stop::default())
}

/// Brings the feature forward until there is nothing to do, and returns what became of the last wish.
async fn drive(journal: &MemoryJournal, upstreams: &MemoryUpstreams) -> Advanced {
    let driver = driver(journal, upstreams);
    let mut last = Advanced::Nothing;
    loop {
        match driver.advance(ID, None).await.unwrap().became {
            Advanced::To(state) => last = Advanced::To(state),
            Advanced::Nothing => return last,
            other => return other,
        }
    }
}

fn world() -> (MemoryJournal, MemoryUpstreams) {
    (MemoryJournal::new(ID), MemoryUpstreams::default())
}

fn events(journal: &MemoryJournal) -> String {
    journal.world().events.join(", ")
}

#[tokio::test]
async fn a_feature_goes_through_its_states_with_one_call_each() {
    let (journal, upstreams) = world();
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Completed));
    assert_eq!(events(&journal), ALL);
    assert_eq!(upstreams.outside().calls, CALLS);
    let outside = upstreams.outside();
    assert_eq!(outside.branches.keys().collect::<Vec<_>>(), [&format!("feature/{ID}")]);
    let patch = &outside.objects[&format!("{ID}/change.patch")];
    // 2026-01-01T00:00:01Z, when the step began, and an hour.
    assert_eq!((patch.expires_at, patch.sha256.len()), (1_767_225_601 + 3600, 64));
}

#[tokio::test]
async fn without_a_command_nothing_is_verified() {
    let (journal, upstreams) = world();
    upstreams.outside().unverified = true;
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Completed));
    assert!(!events(&journal).contains("verify"));
    assert_eq!(upstreams.outside().objects.len(), 1, "there is no log");
}

#[tokio::test]
async fn each_call_may_fail_for_a_while() {
    for call in ["resolve", "look", "plan", "read", "patch", "apply", "run", "store"] {
        let (journal, upstreams) = world();
        upstreams.fail(call, [UpstreamError::transient("away"), UpstreamError::transient("away")]);
        assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Completed), "{call}");
        assert_eq!(upstreams.outside().rewritten, 0, "{call}");
    }
}

#[tokio::test]
async fn each_call_that_fails_for_good_fails_the_feature_with_its_reason() {
    for (call, reason) in [
        ("resolve", "the repository can't be fetched: no"),
        ("look", "the repository can't be fetched: no"),
        ("plan", "there is no usable plan: no"),
        ("read", "there is no usable patch: no"),
        ("patch", "there is no usable patch: no"),
        ("apply", "the change can't be pushed: no"),
        ("run", "the sandbox could not run the command: no"),
        ("store", "the artifacts can't be stored: no"),
    ] {
        for (failures, calls) in [
            (vec![UpstreamError::lasting("no")], 1),
            (vec![UpstreamError::transient("no"); usize::try_from(TRIES).unwrap()], usize::try_from(TRIES).unwrap()),
        ] {
            let (journal, upstreams) = world();
            upstreams.fail(call, failures);
            assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Failed), "{call}");
            let error = journal.world().feature.error.clone().unwrap();
            assert!(error.contains(reason), "{call}: {error}");
            assert_eq!(upstreams.outside().calls.iter().filter(|called| **called == call).count(), calls, "{call}");
            assert_eq!(events(&journal).contains("repository.clone.failed"), matches!(call, "resolve" | "look"), "{call}");
        }
    }
}

#[tokio::test]
async fn what_is_only_noted_fails_nothing() {
    let (journal, upstreams) = world();
    upstreams.fail("record_head", [UpstreamError::lasting("no")]);
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Completed));
}

#[tokio::test]
async fn a_verification_that_fails_is_not_repeated_and_says_what_it_wrote() {
    let (journal, upstreams) = world();
    upstreams.outside().ran = Ran { exit_code: 2, log: "3 tests failed\n".to_owned(), ..Ran::default() };
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Failed));
    let error = journal.world().feature.error.clone().unwrap();
    assert!(error.contains("verification failed with exit code 2: 3 tests failed"), "{error}");
    assert_eq!(upstreams.outside().calls.iter().filter(|call| **call == "run").count(), 1);
    let log = upstreams.outside().objects[&format!("{ID}/verify.log")].clone();
    assert_eq!(log.body, b"3 tests failed\n");
    let left = journal.world().steps["verify"].output.clone().unwrap();
    let told: Vec<_> = left["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["key"].as_str().unwrap()).collect();
    assert_eq!(told, [format!("{ID}/change.patch"), format!("{ID}/verify.log")]);
    assert_eq!(left["artifacts"][1]["sha256"], log.sha256);
}

#[tokio::test]
async fn a_verification_that_fails_while_the_store_is_away_fails_for_its_own_reason() {
    let (journal, upstreams) = world();
    upstreams.outside().ran = Ran { exit_code: 2, ..Ran::default() };
    upstreams.fail("store", [UpstreamError::transient("away")]);
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Failed));
    let error = journal.world().feature.error.clone().unwrap();
    assert!(error.contains("verification failed with exit code 2"), "{error}");
    assert_eq!(journal.world().steps["verify"].output, None);
}

#[tokio::test]
async fn a_crash_after_each_record_loses_nothing_and_does_nothing_twice() {
    let all = ALL.split(", ").count() - 1;
    for record in 1..=all {
        let (journal, upstreams) = world();
        journal.world().crash_after = Some(record);
        tokio::select! {
            last = drive(&journal, &upstreams) => panic!("record {record} was not reached: {last:?}"),
            () = journal.crashed() => {}
        }
        assert_eq!(
            driver(&journal, &upstreams).advance(ID, None).await.unwrap().became,
            advanced_while_locked(&journal),
            "record {record}"
        );
        journal.end_connections();
        let last = drive(&journal, &upstreams).await;
        assert!(journal.world().feature.state == State::Completed, "record {record}: {last:?}");
        let outside = upstreams.outside();
        assert_eq!((outside.branches.len(), outside.rewritten, outside.objects.len()), (1, 0, 2), "record {record}");
        // A step that began may begin again; nothing that ended does.
        let told = journal.world().events.clone();
        let ended: Vec<&String> = told.iter().filter(|event| !event.starts_with("step.started")).collect();
        assert_eq!(ended, ALL.split(", ").filter(|event| !event.starts_with("step.started")).collect::<Vec<_>>(), "record {record}");
        assert!(told.len() <= all + 2, "record {record}: {told:?}");
    }
}

/// While the lock of one that crashed is still there, nobody else begins; an ended feature needs no lock.
fn advanced_while_locked(journal: &MemoryJournal) -> Advanced {
    if is_final(journal.world().feature.state) { Advanced::Nothing } else { Advanced::Busy }
}

#[tokio::test]
async fn work_that_nobody_wants_any_more_is_dropped() {
    for (call, end, expected) in [
        ("plan", "cancel", Advanced::Left(Left::Ended)),
        ("run", "cancel", Advanced::Left(Left::Ended)),
        ("patch", "lock", Advanced::Left(Left::LockLost)),
        ("apply", "process", Advanced::Left(Left::Stopping)),
    ] {
        let (journal, upstreams) = world();
        upstreams.outside().silent.push(call);
        let driver = driver(&journal, &upstreams);
        let drive = async {
            loop {
                match driver.advance(ID, None).await.unwrap().became {
                    Advanced::To(_) => {}
                    other => return other,
                }
            }
        };
        let interrupt = async {
            while !upstreams.outside().calls.contains(&call) {
                tokio::task::yield_now().await;
            }
            match end {
                "cancel" => journal.world().feature.state = State::Cancelled,
                "lock" => journal.world().lock_lost = true,
                _ => driver.stop().drop_everything.cancel(),
            }
        };
        let (left, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(drive, interrupt) }).await.unwrap();
        assert_eq!(left, expected, "{call} {end}");
        assert!(journal.world().locked.is_empty(), "{call} {end}: the lock is not given back");
    }
}

#[tokio::test]
async fn a_process_that_ends_begins_no_step() {
    let (journal, upstreams) = world();
    let driver = driver(&journal, &upstreams);
    assert_eq!(driver.advance(ID, None).await.unwrap().became, Advanced::To(State::Analyzing));
    driver.stop().begin_nothing.cancel();
    assert_eq!(driver.advance(ID, None).await.unwrap().became, Advanced::Left(Left::Stopping));
    assert_eq!(upstreams.outside().calls, Vec::<&str>::new());
}

#[tokio::test]
async fn an_event_of_another_state_and_a_feature_that_is_at_work_are_left_alone() {
    let (journal, upstreams) = world();
    let driver = driver(&journal, &upstreams);
    assert_eq!(driver.advance(ID, Some(State::Executing)).await.unwrap().became, Advanced::Nothing);
    journal.world().locked.insert(ID);
    assert_eq!(driver.advance(ID, Some(State::Pending)).await.unwrap().became, Advanced::Busy);
    assert_eq!(events(&journal), "feature.created");
}

#[tokio::test]
async fn an_upstream_says_when_to_come_back() {
    let (journal, upstreams) = world();
    let wait = UpstreamError { retry_after: Some(Duration::from_millis(200)), ..UpstreamError::transient("too many requests") };
    upstreams.fail("plan", [wait]);
    let started = std::time::Instant::now();
    assert_eq!(drive(&journal, &upstreams).await, Advanced::To(State::Completed));
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}
