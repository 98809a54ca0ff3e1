use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::CancelToken;

/// The name of a step, unique in its saga and the same in every run of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct StepName(Arc<str>);

impl StepName {
    /// Makes a name from text.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StepName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for StepName {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl From<StepName> for String {
    fn from(name: StepName) -> Self {
        name.as_str().to_owned()
    }
}

impl From<&str> for StepName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Why a step gave up. It is written to the journal, so it holds no secret value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct StepError {
    /// What failed and on what, in one sentence.
    pub message: String,
    /// Details for machines.
    #[serde(default)]
    pub detail: Value,
}

impl StepError {
    /// Makes an error without details.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: Value::Null }
    }

    /// Adds details.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// How it is known after a crash that a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The journal says so: intent and result are recorded, each before going on.
    Journal,
    /// The world says so: the effect carries its own mark, repeating it costs no write, and nothing is journaled.
    World,
}

/// Which budget a step takes from, so that many that wait never hold back those that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// It sends requests.
    Write,
    /// It mostly waits.
    Wait,
}

/// Results of the steps that are done, by name.
#[derive(Debug, Clone, Default)]
pub struct Outputs(pub(crate) Arc<BTreeMap<StepName, Value>>);

impl Outputs {
    /// Returns what a step handed on.
    pub fn get(&self, step: &str) -> Option<&Value> {
        self.0.get(&StepName::new(step))
    }
}

/// What a step is given when it runs.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// Results of the steps it comes after, directly; for an undo its own step's too.
    pub outputs: Outputs,
    /// Asked to stop: a step that waits may end early with an error; one that writes goes on to its end.
    pub cancel: CancelToken,
}

/// A function that has a step's effect, or takes it back.
pub(crate) type Act = Arc<dyn Fn(StepContext) -> BoxFuture<'static, Result<Value, StepError>> + Send + Sync>;

/// One unit of work. It is repeatable: running it twice has the effect of once.
#[derive(Clone)]
pub struct Step {
    /// Its name.
    pub name: StepName,
    /// Its budget.
    pub lane: Lane,
    /// How a resume knows that it is done.
    pub evidence: Evidence,
    /// Steps that must be done first.
    pub after: Vec<StepName>,
    pub(crate) act: Act,
    pub(crate) undo: Option<Act>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("name", &self.name).field("lane", &self.lane).field("after", &self.after).finish_non_exhaustive()
    }
}

impl Step {
    /// Makes a journaled step in the write lane that comes after nothing and has no undo.
    pub fn new<F, R>(name: impl AsRef<str>, act: F) -> Self
    where
        F: Fn(StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, StepError>> + Send + 'static,
    {
        let act: Act = Arc::new(move |context| Box::pin(act(context)));
        Self { name: StepName::new(name), lane: Lane::Write, evidence: Evidence::Journal, after: Vec::new(), act, undo: None }
    }

    /// Adds a step that must be done first.
    #[must_use]
    pub fn after(mut self, step: impl AsRef<str>) -> Self {
        self.after.push(StepName::new(step));
        self
    }

    /// Sets the budget.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Sets how a resume knows that it is done.
    #[must_use]
    pub fn evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// Sets how the effect is taken back; it must be repeatable and succeed where there is no effect.
    ///
    /// It is given the outputs of its own step and of the steps it comes after, as far as the journal has them.
    #[must_use]
    pub fn undo<F, R>(mut self, undo: F) -> Self
    where
        F: Fn(StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, StepError>> + Send + 'static,
    {
        self.undo = Some(Arc::new(move |context| Box::pin(undo(context))));
        self
    }
}

/// Why steps make no saga.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    /// Two steps have one name.
    #[error("two steps are named `{0}`")]
    Duplicate(StepName),
    /// A step comes after one that is not there.
    #[error("step `{step}` comes after `{after}`, which is not there")]
    UnknownStep {
        /// The step.
        step: StepName,
        /// What it names.
        after: StepName,
    },
    /// Steps come after each other in a ring.
    #[error("steps wait for each other: {}", .0.iter().map(StepName::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<StepName>),
}

/// Steps with their order; checked to be runnable.
#[derive(Debug, Clone)]
pub struct Saga {
    pub(crate) steps: Vec<Step>,
    pub(crate) successors: Vec<Vec<usize>>,
    pub(crate) predecessors: Vec<Vec<usize>>,
}

impl Saga {
    /// Checks the steps and makes a saga of them. O(steps + edges).
    ///
    /// # Errors
    /// [`BuildError`] for double names, unknown predecessors and rings.
    pub fn new(steps: Vec<Step>) -> Result<Self, BuildError> {
        let mut places = HashMap::with_capacity(steps.len());
        for (place, step) in steps.iter().enumerate() {
            if places.insert(step.name.clone(), place).is_some() {
                return Err(BuildError::Duplicate(step.name.clone()));
            }
        }
        let mut successors = vec![Vec::new(); steps.len()];
        let mut predecessors = vec![Vec::new(); steps.len()];
        // For each step the last one that was said to come after it: a step may name another twice.
        let mut last_after = vec![usize::MAX; steps.len()];
        for (place, step) in steps.iter().enumerate() {
            for after in &step.after {
                let Some(&before) = places.get(after) else {
                    return Err(BuildError::UnknownStep { step: step.name.clone(), after: after.clone() });
                };
                if std::mem::replace(&mut last_after[before], place) != place {
                    predecessors[place].push(before);
                    successors[before].push(place);
                }
            }
        }
        let saga = Self { steps, successors, predecessors };
        match saga.find_cycle() {
            Some(cycle) => Err(BuildError::Cycle(cycle)),
            None => Ok(saga),
        }
    }

    /// Lists the steps as given.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn find_cycle(&self) -> Option<Vec<StepName>> {
        let mut open: Vec<usize> = self.predecessors.iter().map(Vec::len).collect();
        let mut ready: Vec<usize> = (0..self.steps.len()).filter(|&place| open[place] == 0).collect();
        let mut seen = 0;
        while let Some(place) = ready.pop() {
            seen += 1;
            for &next in &self.successors[place] {
                open[next] -= 1;
                if open[next] == 0 {
                    ready.push(next);
                }
            }
        }
        if seen == self.steps.len() {
            return None;
        }
        let mut path: Vec<usize> = vec![(0..self.steps.len()).find(|&place| open[place] > 0)?];
        loop {
            let last = *path.last()?;
            let previous = *self.predecessors[last].iter().find(|&&place| open[place] > 0)?;
            if let Some(start) = path.iter().position(|&place| place == previous) {
                let mut cycle: Vec<StepName> = path[start..].iter().rev().map(|&place| self.steps[place].name.clone()).collect();
                cycle.push(cycle.first()?.clone());
                return Some(cycle);
            }
            path.push(previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, after: &[&str]) -> Step {
        after.iter().fold(Step::new(name, |_| async { Ok(Value::Null) }), |step, after| step.after(after))
    }

    #[test]
    fn only_runnable_steps_make_a_saga() {
        assert_eq!(Saga::new(vec![step("a", &[]), step("a", &[])]).err(), Some(BuildError::Duplicate("a".into())));
        assert_eq!(Saga::new(vec![step("a", &["b"])]).err(), Some(BuildError::UnknownStep { step: "a".into(), after: "b".into() }));
        let ring = Saga::new(vec![step("d", &[]), step("a", &["c", "d"]), step("b", &["a"]), step("c", &["b"])]).err();
        assert_eq!(ring.map(|error| error.to_string()).as_deref(), Some("steps wait for each other: b -> c -> a -> b"));
    }
}
