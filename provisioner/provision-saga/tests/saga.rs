//! Sagas under faults: each step fails, repeats, crashes after each record; stop, resume, unwind.
#![expect(clippy::unwrap_used, reason = "a test fails where its world is not as it says")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use provision_saga::inject::{CrashAfter, fail_steps, repeat_steps};
use provision_saga::{
    CancelToken, Event, Execution, Lane, MemoryJournal, OnFailure, Options, Outcome, Saga, Step, StepError, StepName, execute,
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

async fn run(
    saga: &Saga,
    journal: &dyn provision_saga::JournalStore,
    on_failure: OnFailure,
) -> Result<Outcome, provision_saga::ExecuteError> {
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
async fn asked_to_stop_it_ends_between_steps_and_resumes() {
    let (world, journal, cancel) = (World::default(), MemoryJournal::default(), CancelToken::default());
    let saga = world.diamond();
    let observer = {
        let cancel = cancel.clone();
        move |signal: provision_saga::Signal| {
            if matches!(&signal, provision_saga::Signal::Done(name, _) if name.as_str() == "a") {
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
