//! Sagas under faults: each step fails, repeats, crashes after each record; stop, resume, unwind.
#![expect(clippy::unwrap_used, reason = "a test fails where its world is not as it says")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use provision_saga::inject::{CrashAfter, fail_steps, repeat_steps};
use provision_saga::{
    CancelToken, Event, Evidence, Execution, JournalStore, Lane, MemoryJournal, OnFailure, Options, Outcome, Record, Saga, Signal, Step,
    StepError, StepName, execute,
};
use serde_json::{Value, json};

/// A world in which each step leaves one idempotent mark.
#[derive(Clone, Default)]
struct World(Arc<Mutex<BTreeMap<String, usize>>>);

impl World {
    fn step(&self, name: &'static str, after: &[&str]) -> Step {
        let (act, undo) = (self.clone(), self.clone());
        let step = Step::new(name, move |context| {
            let world = act.clone();
            async move {
                let before: usize = ["a", "b", "c", "d"].iter().filter(|step| context.outputs.get(step).is_some()).count();
                world.0.lock().unwrap().insert(name.to_owned(), before);
                Ok(json!(before))
            }
        })
        .undo(move |_| {
            let world = undo.clone();
            async move {
                world.0.lock().unwrap().remove(name);
                Ok(Value::Null)
            }
        });
        after.iter().fold(step, |step, before| step.after(before))
    }

    /// A diamond: `a` before `b` and `c`, both before `d`.
    fn diamond(&self) -> Saga {
        Saga::new(vec![self.step("a", &[]), self.step("b", &["a"]), self.step("c", &["a"]), self.step("d", &["b", "c"])]).unwrap()
    }

    fn marks(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

async fn run(saga: &Saga, journal: &dyn JournalStore, on_failure: OnFailure) -> Result<Outcome, provision_saga::ExecuteError> {
    let options = Options { on_failure, ..Options::default() };
    execute(saga, Execution { journal, options, cancel: CancelToken::default(), observer: &|_| {} }).await
}

#[tokio::test]
async fn steps_see_the_outputs_of_the_steps_before_them() {
    let (world, journal) = (World::default(), MemoryJournal::default());
    assert_eq!(run(&world.diamond(), &journal, OnFailure::Unwind).await.unwrap(), Outcome::Done);
    assert_eq!(world.0.lock().unwrap().clone(), BTreeMap::from([("a".into(), 0), ("b".into(), 1), ("c".into(), 1), ("d".into(), 2)]));
}

#[tokio::test]
async fn a_crash_after_any_record_is_resumed_to_the_same_end() {
    let full = MemoryJournal::default();
    run(&World::default().diamond(), &full, OnFailure::Unwind).await.unwrap();
    let records = full.records().len();
    assert_eq!(records, 8, "intent and result for each of four steps");
    for crash in 0..records {
        let (world, journal) = (World::default(), MemoryJournal::default());
        let saga = world.diamond();
        assert!(run(&saga, &CrashAfter::new(journal.clone(), crash), OnFailure::Unwind).await.is_err(), "crash after {crash}");
        assert_eq!(run(&saga, &journal, OnFailure::Unwind).await.unwrap(), Outcome::Done, "crash after {crash}");
        assert_eq!(world.marks(), ["a", "b", "c", "d"], "crash after {crash}");
        let done = journal.records().iter().filter(|record| matches!(record.event, Event::Done { .. })).count();
        assert_eq!(done, 4, "each step is done once in the journal, crash after {crash}");
    }
}

#[tokio::test]
async fn every_step_may_run_twice() {
    for name in ["a", "b", "c", "d"] {
        let world = World::default();
        let saga = repeat_steps(&world.diamond(), &BTreeSet::from([StepName::new(name)]));
        assert_eq!(run(&saga, &MemoryJournal::default(), OnFailure::Unwind).await.unwrap(), Outcome::Done);
        assert_eq!(world.marks(), ["a", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn a_failure_at_any_step_unwinds_to_a_clean_slate() {
    for name in ["a", "b", "c", "d"] {
        let world = World::default();
        let saga = fail_steps(&world.diamond(), &BTreeSet::from([StepName::new(name)]));
        let outcome = run(&saga, &MemoryJournal::default(), OnFailure::Unwind).await.unwrap();
        assert!(matches!(&outcome, Outcome::Unwound { failures } if failures[0].0.as_str() == name), "{outcome:?}");
        assert_eq!(world.marks(), Vec::<String>::new(), "{name}");
    }
}

/// `d` of the diamond always gives up.
fn failing(world: &World) -> Saga {
    fail_steps(&world.diamond(), &BTreeSet::from([StepName::new("d")]))
}

#[tokio::test]
async fn a_crash_in_an_unwinding_is_resumed_to_its_end() {
    let full = MemoryJournal::default();
    run(&failing(&World::default()), &full, OnFailure::Unwind).await.unwrap();
    let records = full.records().len();
    assert_eq!(records, 16, "intent and result for four steps and four undos");
    for crash in 0..records {
        let (world, journal) = (World::default(), MemoryJournal::default());
        let saga = failing(&world);
        assert!(run(&saga, &CrashAfter::new(journal.clone(), crash), OnFailure::Unwind).await.is_err(), "crash after {crash}");
        for policy in [OnFailure::Unwind, OnFailure::ContinueIndependent] {
            let resumed = run(&saga, &journal, policy).await.unwrap();
            assert!(matches!(&resumed, Outcome::Unwound { failures } if failures[0].0.as_str() == "d"), "crash after {crash}: {resumed:?}");
            assert_eq!(world.marks(), Vec::<String>::new(), "crash after {crash}");
        }
        let events = |wanted: &str| journal.records().iter().filter(|record| format!("{:?}", record.event).starts_with(wanted)).count();
        assert_eq!((events("Done"), events("Undone")), (3, 4), "nothing is done again once it was undone, crash after {crash}");
    }
}

#[tokio::test]
async fn an_undo_is_given_what_its_step_and_those_before_it_handed_on() {
    for crash in [6, 7] {
        let journal = MemoryJournal::default();
        let given: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
        let seen = given.clone();
        let first = Step::new("first", |_| async { Ok(json!("ticket 1")) });
        let second = Step::new("second", |_| async { Ok(json!("ticket 2")) }).after("first").undo(move |context| {
            let outputs = ["first", "second"].iter().filter_map(|step| context.outputs.get(step).cloned()).collect();
            seen.lock().unwrap().push(outputs);
            async { Ok(Value::Null) }
        });
        let third = Step::new("third", |_| async { Err(StepError::new("no")) }).after("second");
        let saga = Saga::new(vec![first, second, third]).unwrap();
        assert!(run(&saga, &CrashAfter::new(journal.clone(), crash), OnFailure::Unwind).await.is_err());
        run(&saga, &journal, OnFailure::Unwind).await.unwrap();
        assert!(given.lock().unwrap().iter().all(|outputs| *outputs == [json!("ticket 1"), json!("ticket 2")]), "{given:?}");
        assert!(!given.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn independent_branches_go_on_and_dependents_are_skipped() {
    let world = World::default();
    let saga = fail_steps(&world.diamond(), &BTreeSet::from([StepName::new("b")]));
    let outcome = run(&saga, &MemoryJournal::default(), OnFailure::ContinueIndependent).await.unwrap();
    let Outcome::Failed { failures, skipped } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failures.len(), 1);
    assert_eq!(skipped, vec![("d".into(), "b".into())]);
    assert_eq!(world.marks(), ["a", "c"]);
}

#[tokio::test]
async fn a_failed_undo_is_stuck_and_what_it_rests_on_stays() {
    let world = World::default();
    let stubborn = world.step("b", &["a"]).undo(|_| async { Err(StepError::new("held")) });
    let fails = Step::new("c", |_| async { Err(StepError::new("no")) }).after("b");
    let saga = Saga::new(vec![world.step("a", &[]), stubborn, fails]).unwrap();
    let outcome = run(&saga, &MemoryJournal::default(), OnFailure::Unwind).await.unwrap();
    assert!(matches!(&outcome, Outcome::Stuck { stuck, .. } if stuck[0].0.as_str() == "b"), "{outcome:?}");
    assert_eq!(world.marks(), ["a", "b"]);
}

#[tokio::test]
async fn what_the_world_shows_is_not_journaled_done_again_by_a_resume_and_undone() {
    let (world, journal) = (World::default(), MemoryJournal::default());
    let shown = || world.step("a", &[]).evidence(Evidence::World);
    let saga = Saga::new(vec![shown(), world.step("b", &["a"])]).unwrap();
    assert!(run(&saga, &CrashAfter::new(journal.clone(), 1), OnFailure::Unwind).await.is_err());
    world.0.lock().unwrap().clear();
    assert_eq!(run(&saga, &journal, OnFailure::Unwind).await.unwrap(), Outcome::Done);
    assert_eq!(world.marks(), ["a", "b"]);
    assert!(journal.records().iter().all(|record| record.step.as_str() == "b"));

    let fails = Step::new("c", |_| async { Err(StepError::new("no")) }).after("a");
    let outcome = run(&Saga::new(vec![shown(), fails]).unwrap(), &MemoryJournal::default(), OnFailure::Unwind).await.unwrap();
    assert!(matches!(outcome, Outcome::Unwound { .. }), "{outcome:?}");
    assert_eq!(world.marks(), ["b"]);
}

#[tokio::test]
async fn what_a_stuck_step_does_not_rest_on_is_undone_and_a_resume_tries_it_again() {
    let (world, journal, lock) = (World::default(), MemoryJournal::default(), Arc::new(AtomicBool::new(true)));
    let held = lock.clone();
    let stubborn = world.step("b", &["a"]).undo(move |context| {
        let held = held.load(Ordering::SeqCst);
        async move { if held { Err(StepError::new("held")) } else { Ok(context.outputs.get("b").cloned().unwrap()) } }
    });
    let fails = Step::new("e", |_| async { Err(StepError::new("no")) }).after("b").after("d");
    let saga = Saga::new(vec![world.step("a", &[]), stubborn, world.step("c", &[]), world.step("d", &["c"]), fails]).unwrap();
    let outcome = run(&saga, &journal, OnFailure::Unwind).await.unwrap();
    assert!(matches!(&outcome, Outcome::Stuck { stuck, .. } if stuck.len() == 1 && stuck[0].0.as_str() == "b"), "{outcome:?}");
    assert_eq!(world.marks(), ["a", "b"]);
    lock.store(false, Ordering::SeqCst);
    assert!(matches!(run(&saga, &journal, OnFailure::Unwind).await.unwrap(), Outcome::Unwound { .. }));
    assert_eq!(world.marks(), ["b"], "its undo says that it is gone");
}

/// A `Signal` that asks to stop as soon as it is seen.
async fn stopped_at(saga: &Saga, journal: &MemoryJournal, stop: fn(&Signal) -> bool) -> Outcome {
    let cancel = CancelToken::default();
    let asks = cancel.clone();
    let observer = move |signal: Signal| {
        if stop(&signal) {
            asks.cancel();
        }
    };
    let options = Options { on_failure: OnFailure::Unwind, ..Options::default() };
    execute(saga, Execution { journal, options, cancel, observer: &observer }).await.unwrap()
}

#[tokio::test]
async fn asked_to_stop_it_undoes_nothing_that_is_done() {
    let (world, journal) = (World::default(), MemoryJournal::default());
    let outcome = stopped_at(&failing(&world), &journal, |signal| matches!(signal, Signal::Failed(..))).await;
    assert!(matches!(&outcome, Outcome::Stopped { failures, remaining } if failures.len() == 1 && remaining.is_empty()), "{outcome:?}");
    assert_eq!(world.marks(), ["a", "b", "c"]);
    assert_eq!(run(&world.diamond(), &journal, OnFailure::Unwind).await.unwrap(), Outcome::Done);
}

#[tokio::test]
async fn asked_to_stop_it_ends_between_undos_and_resumes() {
    let (world, journal) = (World::default(), MemoryJournal::default());
    let saga = failing(&world);
    let outcome = stopped_at(&saga, &journal, |signal| matches!(signal, Signal::Undone(_))).await;
    assert!(matches!(&outcome, Outcome::Stopped { remaining, .. } if remaining.len() == 3), "{outcome:?}");
    assert_eq!(world.marks(), ["a", "b", "c"]);
    assert!(matches!(run(&saga, &journal, OnFailure::Unwind).await.unwrap(), Outcome::Unwound { .. }));
    assert_eq!(world.marks(), Vec::<String>::new());
}

#[test]
fn a_record_is_one_flat_line() {
    let error = StepError::new("no").with_detail(json!({"code": 3}));
    for (event, line) in [
        (Event::Started, json!({"step": "a", "event": "started"})),
        (Event::Done { output: json!([1]) }, json!({"step": "a", "event": "done", "output": [1]})),
        (Event::UndoFailed { error }, json!({"step": "a", "event": "undo_failed", "error": {"message": "no", "detail": {"code": 3}}})),
    ] {
        let record = Record { step: "a".into(), event };
        assert_eq!(serde_json::to_value(&record).unwrap(), line);
        assert_eq!(serde_json::from_value::<Record>(line).unwrap(), record);
    }
}

#[tokio::test]
async fn a_journal_that_makes_no_sense_is_refused() {
    for (events, expected) in [
        (vec![Event::Undone], "the journal is damaged: `Undone` can't follow `Pending` for step `a`"),
        (
            vec![Event::Started, Event::Done { output: Value::Null }, Event::Started],
            "the journal is damaged: `Started` can't follow `Done(Null)` for step `a`",
        ),
        (
            vec![Event::Started, Event::UndoStarted, Event::Undone, Event::Started],
            "the journal is damaged: `Started` can't follow `Undone` for step `a`",
        ),
    ] {
        let journal = MemoryJournal::default();
        for event in events {
            journal.append(Record { step: "a".into(), event }).await.unwrap();
        }
        let error = run(&World::default().diamond(), &journal, OnFailure::Unwind).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn asked_to_stop_it_ends_between_steps_and_resumes() {
    let (world, journal, cancel) = (World::default(), MemoryJournal::default(), CancelToken::default());
    let saga = world.diamond();
    let observer = {
        let cancel = cancel.clone();
        move |signal: Signal| {
            if matches!(&signal, Signal::Done(name, _) if name.as_str() == "a") {
                cancel.cancel();
            }
        }
    };
    let options = Options::default();
    let outcome = execute(&saga, Execution { journal: &journal, options, cancel, observer: &observer }).await.unwrap();
    assert!(matches!(&outcome, Outcome::Stopped { remaining, .. } if remaining.len() == 3), "{outcome:?}");
    assert_eq!(world.marks(), ["a"]);
    assert_eq!(run(&saga, &journal, OnFailure::ContinueIndependent).await.unwrap(), Outcome::Done);
    assert_eq!(world.marks(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn waiting_steps_never_hold_back_writing_ones() {
    let gate = CancelToken::default();
    let waits = (0..8).map(|n| {
        let gate = gate.clone();
        Step::new(format!("wait-{n}"), move |_| {
            let gate = gate.clone();
            async move {
                gate.cancelled().await;
                Ok(Value::Null)
            }
        })
        .lane(Lane::Wait)
    });
    let opener = {
        let gate = gate.clone();
        Step::new("write", move |_| {
            gate.cancel();
            async { Ok(Value::Null) }
        })
    };
    let saga = Saga::new(waits.chain([opener]).collect()).unwrap();
    let options = Options { writes: 1, waits: 2, ..Options::default() };
    let execution = Execution { journal: &MemoryJournal::default(), options, cancel: CancelToken::default(), observer: &|_| {} };
    assert_eq!(execute(&saga, execution).await.unwrap(), Outcome::Done);
}
