use std::collections::{BTreeMap, HashMap};

use provision_model::{Action, ResourceId};
use provision_saga::{Outcome, StepError, StepName};

use super::Began;
use super::reporter::ChangeEnds;
use super::work::{Work, is_interruption, verdict_of};
use crate::{Clock, Cluster, ObjectFailure, RequestCounts, RunContext, RunOutcome, SecretStore, Skipped, StopReason, Summary};

/// Measures a run.
pub(super) struct Meter {
    began: Began,
    before: RequestCounts,
}

impl Meter {
    pub(super) fn start<C: Cluster, S, K>(cx: &RunContext<C, S, K>) -> Self {
        Self { began: Began::now(), before: cx.cluster.requests() }
    }

    fn summary<C: Cluster, S, K>(&self, cx: &RunContext<C, S, K>) -> Summary {
        let now = cx.cluster.requests();
        let before = &self.before;
        let requests = RequestCounts {
            lists: now.lists - before.lists,
            gets: now.gets - before.gets,
            dry_runs: now.dry_runs - before.dry_runs,
            writes: now.writes - before.writes,
            watches: now.watches - before.watches,
            others: now.others - before.others,
        };
        Summary { elapsed: self.began.elapsed(), requests, ..Summary::default() }
    }

    pub(super) fn stopped_before_start<C: Cluster, S, K>(&self, cx: &RunContext<C, S, K>, reason: StopReason) -> RunOutcome {
        RunOutcome::Stopped { summary: self.summary(cx), reason, failures: Vec::new(), remaining: 0 }
    }
}

/// How the steps of a run ended.
pub(super) struct Ended {
    /// `None` when the journal could not be written.
    pub(super) outcome: Option<Outcome>,
    pub(super) changes: ChangeEnds,
}

impl Ended {
    /// The same, but what was done could not be recorded.
    pub(super) fn unrecorded(self) -> Self {
        Self { outcome: None, ..self }
    }

    /// Tells whether a resume goes on with it.
    pub(super) fn is_unfinished(&self) -> bool {
        !matches!(self.outcome, Some(Outcome::Done | Outcome::Failed { .. }))
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Done))
    }

    pub(super) fn into_outcome<C: Cluster, S: SecretStore, K: Clock>(
        self,
        work: &Work<C, S, K>,
        meter: &Meter,
        generation: Option<u64>,
    ) -> RunOutcome {
        let summary = self.summarise(Summary { generation, ..meter.summary(&work.cx) });
        let resources = &self.changes.resources;
        let reason = || work.stop.reason().unwrap_or(StopReason::Interrupted);
        match self.outcome {
            Some(Outcome::Done) => RunOutcome::Done { summary },
            Some(Outcome::Failed { failures: failed, skipped }) => {
                RunOutcome::Failed { summary, failures: failures(work, resources, failed), skipped: skipped_objects(resources, skipped) }
            }
            Some(Outcome::Unwound { failures: failed } | Outcome::Stuck { failures: failed, .. }) => {
                RunOutcome::Failed { summary, failures: failures(work, resources, failed), skipped: Vec::new() }
            }
            Some(Outcome::Stopped { remaining, failures: failed }) => {
                let remaining = remaining.len() + failed.iter().filter(|(_, error)| is_interruption(error)).count();
                RunOutcome::Stopped { summary, reason: reason(), failures: failures(work, resources, failed), remaining }
            }
            None => RunOutcome::Stopped { summary, reason: reason(), failures: Vec::new(), remaining: 0 },
        }
    }

    fn summarise(&self, summary: Summary) -> Summary {
        let mut done: BTreeMap<Action, usize> = BTreeMap::new();
        for change in self.changes.changes.iter().filter(|change| change.is_done && change.action.writes()) {
            *done.entry(change.action).or_default() += 1;
        }
        let unchanged = self.changes.changes.iter().filter(|change| !change.action.writes()).count();
        Summary { done, unchanged, ..summary }
    }
}

type Resources = HashMap<StepName, ResourceId>;

fn failures<C, S, K>(work: &Work<C, S, K>, resources: &Resources, failed: Vec<(StepName, StepError)>) -> Vec<ObjectFailure> {
    let real = failed.into_iter().filter(|(_, error)| !is_interruption(error));
    real.map(|(step, error)| {
        let resource = resources.get(&step).cloned();
        let origin = resource.as_ref().and_then(|id| Some(work.wanted.get(id)?.origin.clone()));
        ObjectFailure { step: step.as_str().to_owned(), resource, verdict: verdict_of(&error), origin }
    })
    .collect()
}

/// Names each object once, and none whose own step failed.
fn skipped_objects(resources: &Resources, skipped: Vec<(StepName, StepName)>) -> Vec<Skipped> {
    let mut objects: BTreeMap<ResourceId, String> = BTreeMap::new();
    for (step, because) in skipped {
        let Some(resource) = resources.get(&step) else { continue };
        if resources.get(&because) != Some(resource) {
            objects.entry(resource.clone()).or_insert_with(|| because.as_str().to_owned());
        }
    }
    objects.into_iter().map(|(resource, because)| Skipped { resource, because }).collect()
}
