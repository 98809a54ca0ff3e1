//! A journal in memory that can crash its user after each of its records, as the database's does not.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use feature_api::feature::{Event, State};
use feature_store::{
    Failure, Feature, Instruction, Move, Step, StepRun, StepType, StoreError, StoredEvent, Trace, Transition, is_final, step_id,
};
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Journal;

/// One feature, as it is kept; clones share it.
#[derive(Clone)]
pub(crate) struct MemoryJournal(Arc<Mutex<World>>, Arc<Notify>);

pub(crate) struct World {
    pub(crate) feature: Feature,
    pub(crate) steps: BTreeMap<&'static str, Step>,
    /// What was told, as `state_changed ANALYZING` or `step.started look`.
    pub(crate) events: Vec<String>,
    /// Records so far.
    pub(crate) records: usize,
    /// After which record its user is gone for ever.
    pub(crate) crash_after: Option<usize>,
    pub(crate) locked: HashSet<Uuid>,
    pub(crate) lock_lost: bool,
}

impl MemoryJournal {
    pub(crate) fn new(id: Uuid) -> Self {
        let feature = Feature {
            id,
            state: State::Pending,
            error: None,
            branch: None,
            repository_url: "https://git.example.com/demo.git".to_owned(),
            artifacts: vec![],
            created_at: "2026-01-01T00:00:00.000000Z".to_owned(),
            updated_at: String::new(),
            completed_at: None,
            trace: Trace::default(),
        };
        let (steps, events, locked) = (BTreeMap::new(), vec!["feature.created".to_owned()], HashSet::new());
        Self(
            Arc::new(Mutex::new(World { feature, steps, events, records: 0, crash_after: None, locked, lock_lost: false })),
            Arc::default(),
        )
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Waits for the crash.
    pub(crate) async fn crashed(&self) {
        self.1.notified().await;
    }

    /// Forgets the locks of a user that is gone, as a database does with its connections.
    pub(crate) fn end_connections(&self) {
        let mut world = self.world();
        world.locked.clear();
        world.crash_after = None;
    }

    /// Writes, and then never returns if this was the last record before the crash.
    async fn record<T>(&self, write: impl FnOnce(&mut World) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (written, crashed) = {
            let mut world = self.world();
            let id = world.feature.id;
            if is_final(world.feature.state) {
                return Err(StoreError::Ended { id, state: world.feature.state });
            }
            let written = write(&mut world)?;
            world.records += 1;
            (written, world.crash_after == Some(world.records))
        };
        if crashed {
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(written)
    }
}

impl World {
    fn end_step(&mut self, step: StepType, outcome: &str, (output, error): (Option<Value>, Option<String>)) -> Result<(), StoreError> {
        let id = self.feature.id;
        let kept = self.steps.get_mut(step.name()).filter(|kept| kept.outcome == "running");
        let kept = kept.ok_or(StoreError::NotRunning { id, step_type: step.name() })?;
        (kept.outcome, kept.output, kept.error) = (outcome.to_owned(), output, error);
        Ok(())
    }
}

impl Journal for MemoryJournal {
    type Lock = Uuid;

    async fn lock(&self, feature: Uuid) -> Result<Option<Uuid>, StoreError> {
        Ok(self.world().locked.insert(feature).then_some(feature))
    }

    async fn holds(&self, _lock: &mut Uuid) -> bool {
        !self.world().lock_lost
    }

    async fn release(&self, lock: Uuid) {
        self.world().locked.remove(&lock);
    }

    async fn get(&self, _feature: Uuid) -> Result<Feature, StoreError> {
        Ok(self.world().feature.clone())
    }

    async fn state(&self, _feature: Uuid) -> Result<State, StoreError> {
        Ok(self.world().feature.state)
    }

    async fn instruction(&self, _feature: Uuid) -> Result<Instruction, StoreError> {
        Ok(Instruction::new("Add a page"))
    }

    async fn steps(&self, _feature: Uuid) -> Result<Vec<Step>, StoreError> {
        Ok(self.world().steps.values().cloned().collect())
    }

    async fn begin(&self, feature: Uuid, step: StepType) -> Result<StepRun, StoreError> {
        let run = |kept: &Step| StepRun {
            step_id: kept.id,
            attempt: kept.attempts.unsigned_abs(),
            started_at: "2026-01-01T00:00:01.000000Z".to_owned(),
            output: kept.output.clone(),
        };
        if let Some(done) = self.world().steps.get(step.name()).filter(|kept| kept.outcome == "done") {
            return Ok(run(done));
        }
        self.record(|world| {
            let sequence = i32::try_from(world.steps.len()).unwrap();
            let kept = world.steps.entry(step.name()).or_insert_with(|| Step {
                id: step_id(feature, step),
                sequence,
                step_type: step.name().to_owned(),
                outcome: String::new(),
                attempts: 0,
                output: None,
                error: None,
                started_at: None,
                completed_at: None,
            });
            kept.attempts += 1;
            (kept.outcome, kept.output, kept.error) = ("running".to_owned(), None, None);
            let run = run(kept);
            world.events.push(format!("step.started {}", step.name()));
            Ok(run)
        })
        .await
    }

    async fn finish(&self, _feature: Uuid, step: StepType, output: &Value) -> Result<(), StoreError> {
        self.record(|world| {
            world.end_step(step, "done", (Some(output.clone()), None))?;
            world.events.push(format!("step.completed {}", step.name()));
            Ok(())
        })
        .await
    }

    async fn fail(&self, _feature: Uuid, step: StepType, failure: &Failure, left: Option<&Value>) -> Result<(), StoreError> {
        self.record(|world| {
            world.end_step(step, "failed", (left.cloned(), Some(failure.to_string())))?;
            world.events.push(format!("step.failed {}", step.name()));
            Ok(())
        })
        .await
    }

    async fn tell_clone_failed(&self, _feature: Uuid, _failure: &Failure) -> Result<(), StoreError> {
        self.record(|world| {
            world.events.push("repository.clone.failed".to_owned());
            Ok(())
        })
        .await
    }

    async fn transition(&self, feature: Uuid, wanted: &Move) -> Result<Transition, StoreError> {
        self.record(|world| {
            let from = world.feature.state;
            let forward = Move::forward(from).is_some_and(|move_| move_.to() == wanted.to());
            if !forward && wanted.to() != State::Failed {
                return Ok(Transition::NotThere { state: from });
            }
            world.feature.state = wanted.to();
            let text = format!("{wanted:?}");
            world.feature.error = text.contains("error: Some").then_some(text);
            world.events.push(format!("state_changed {}", wanted.to().as_str_name()));
            let event = StoredEvent { id: Uuid::nil(), feature, position: 0, trace: Trace::default(), event: Event::default() };
            Ok(Transition::Moved { event, age: Duration::ZERO })
        })
        .await
    }
}
