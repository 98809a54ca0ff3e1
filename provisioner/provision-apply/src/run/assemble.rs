use std::collections::HashMap;
use std::sync::Arc;

use provision_model::{Action, Change, Plan, ResourceId};
use provision_saga::{BuildError, Evidence, Lane, Saga, Step, StepName};
use serde_json::Value;

use super::base::is_job;
use super::ready::has_to_be_awaited;
use super::work::Work;
use super::{deletion, names, ready, verify, write};
use crate::{Clock, Cluster, Phase, SecretStore, StepInfo};

/// The step after which objects that leave may go.
const SETTLED: &str = "everything wanted is there";

/// A plan as steps.
pub(super) struct Assembly {
    pub(super) saga: Saga,
    pub(super) steps: Vec<StepInfo>,
    pub(super) changes: Vec<Part>,
}

/// The steps of one change, in their order.
pub(super) struct Part {
    pub(super) change: Arc<Change>,
    pub(super) steps: Vec<StepName>,
}

/// Makes the steps of a plan. What is wanted has no barriers: each object waits only for what its edges name. What leaves waits for all.
pub(super) fn assemble<C: Cluster, S: SecretStore, K: Clock>(work: &Arc<Work<C, S, K>>, plan: &Plan) -> Result<Assembly, BuildError> {
    let mut builder = Builder { work, steps: Vec::new(), infos: Vec::new(), parts: Vec::new() };
    for change in &plan.changes {
        builder.change(change);
    }
    builder.order(plan);
    builder.verification(plan);
    builder.prune_last(plan);
    let steps = builder.infos_with_order();
    Ok(Assembly { saga: Saga::new(builder.steps)?, steps, changes: builder.parts })
}

struct Builder<'w, C, S, K> {
    work: &'w Arc<Work<C, S, K>>,
    steps: Vec<Step>,
    infos: Vec<StepInfo>,
    parts: Vec<Part>,
}

impl<C: Cluster, S: SecretStore, K: Clock> Builder<'_, C, S, K> {
    fn change(&mut self, change: &Change) {
        let change = Arc::new(change.clone());
        let mut names: Vec<StepName> = Vec::new();
        for phase in self.phases(&change) {
            let mut step = self.step(phase, &change);
            step.after.extend(names.last().cloned());
            names.push(step.name.clone());
            self.add(step, phase, &change.id);
        }
        self.parts.push(Part { change, steps: names });
    }

    fn phases(&self, change: &Change) -> Vec<Phase> {
        let awaited = change.manifest.as_ref().is_some_and(has_to_be_awaited);
        let mut phases = match change.action {
            Action::Create | Action::Update => vec![Phase::Apply],
            Action::Replace => vec![Phase::Delete, Phase::Gone, Phase::Apply],
            Action::Delete => return vec![Phase::Delete, Phase::Gone],
            Action::Release => return vec![Phase::Release],
            Action::Unchanged => Vec::new(),
        };
        let over = change.action == Action::Unchanged && self.work.base.get(&change.id).is_some_and(|base| base.completed);
        if awaited && !over {
            phases.push(Phase::Ready);
        }
        phases
    }

    fn step(&self, phase: Phase, change: &Arc<Change>) -> Step {
        let (work, change) = (self.work.clone(), change.clone());
        let id = change.id.clone();
        match phase {
            Phase::Apply => {
                let anew = change.action == Action::Replace;
                Step::new(names::apply(&id), move |_| write::write(work.clone(), change.clone(), anew)).evidence(Evidence::World)
            }
            Phase::Ready => {
                let once = change.manifest.as_ref().is_some_and(is_job);
                let evidence = if once { Evidence::Journal } else { Evidence::World };
                Step::new(names::ready(&id), move |step| ready::ready(work.clone(), change.clone(), step))
                    .lane(Lane::Wait)
                    .evidence(evidence)
            }
            Phase::Delete => {
                Step::new(names::delete(&id), move |_| deletion::delete(work.clone(), change.clone())).evidence(Evidence::World)
            }
            Phase::Gone => Step::new(names::gone(&id), move |step| deletion::gone(work.clone(), change.clone(), step))
                .lane(Lane::Wait)
                .evidence(Evidence::World),
            Phase::Release => {
                Step::new(names::release(&id), move |_| deletion::release(work.clone(), change.clone())).evidence(Evidence::World)
            }
            Phase::Verify => Step::new(names::verify(&id), |_| async { Ok(Value::Null) }).evidence(Evidence::World),
        }
    }

    fn add(&mut self, step: Step, phase: Phase, id: &ResourceId) {
        self.infos.push(StepInfo { step: step.name.as_str().to_owned(), resource: id.clone(), phase, after: Vec::new() });
        self.steps.push(step);
    }

    fn ends(&self) -> HashMap<&ResourceId, &Part> {
        self.parts.iter().filter(|part| !part.steps.is_empty()).map(|part| (&part.change.id, part)).collect()
    }

    /// An object begins after the last step of each that comes before it; one that nobody touches comes after nothing.
    fn order(&mut self, plan: &Plan) {
        let ends = self.ends();
        let mut after: HashMap<StepName, Vec<StepName>> = HashMap::new();
        for edge in &plan.edges {
            let (Some(before), Some(next)) = (ends.get(&edge.before), ends.get(&edge.after)) else { continue };
            let (Some(last), Some(first)) = (before.steps.last(), next.steps.first()) else { continue };
            if next.change.action.writes() {
                after.entry(first.clone()).or_default().push(last.clone());
            }
        }
        for step in &mut self.steps {
            step.after.extend(after.remove(&step.name).unwrap_or_default());
        }
    }

    fn verification(&mut self, plan: &Plan) {
        for target in verify::targets(&plan.desired) {
            let ends = self.ends();
            let involved = std::iter::once(&target.service).chain(&target.workloads);
            let after: Vec<StepName> = involved.filter_map(|id| ends.get(id)?.steps.last().cloned()).collect();
            let (work, id) = (self.work.clone(), target.service.clone());
            let target = Arc::new(target);
            let mut step = Step::new(names::verify(&id), move |step| verify::verify(work.clone(), target.clone(), step))
                .lane(Lane::Wait)
                .evidence(Evidence::World);
            step.after = after;
            self.add(step, Phase::Verify, &id);
        }
    }

    fn prune_last(&mut self, plan: &Plan) {
        let wanted: std::collections::HashSet<&ResourceId> = self.work.wanted.keys().collect();
        let leaving = |part: &&Part| !wanted.contains(&part.change.id) && !part.steps.is_empty();
        let first: Vec<StepName> = self.parts.iter().filter(leaving).filter_map(|part| part.steps.first().cloned()).collect();
        if first.is_empty() || plan.desired.objects.is_empty() {
            return;
        }
        let ends = self.parts.iter().filter(|part| !leaving(part)).filter_map(|part| part.steps.last().cloned());
        let verified = self.infos.iter().filter(|info| info.phase == Phase::Verify).map(|info| StepName::new(&info.step));
        let mut settled = Step::new(SETTLED, |_| async { Ok(Value::Null) }).lane(Lane::Wait).evidence(Evidence::World);
        settled.after = ends.chain(verified).collect();
        for step in self.steps.iter_mut().filter(|step| first.contains(&step.name)) {
            step.after.push(settled.name.clone());
        }
        self.steps.push(settled);
    }

    fn infos_with_order(&mut self) -> Vec<StepInfo> {
        let mut after: HashMap<&str, Vec<String>> =
            self.steps.iter().map(|step| (step.name.as_str(), step.after.iter().map(|name| name.as_str().to_owned()).collect())).collect();
        let infos = std::mem::take(&mut self.infos);
        infos.into_iter().map(|info| StepInfo { after: after.remove(info.step.as_str()).unwrap_or_default(), ..info }).collect()
    }
}
