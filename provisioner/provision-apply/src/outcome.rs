use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use provision_model::{Action, Finding, Origin, ResourceId, Verdict};
use serde::{Deserialize, Serialize};

use crate::{GenerationKind, RequestCounts};

/// What happens when another run holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// This run waits until the other one ends or is found dead.
    Wait,
    /// This run is refused as soon as the other one gives a sign of life.
    Refuse,
}

/// How a plan is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOptions {
    /// As what it is recorded.
    pub kind: GenerationKind,
    /// Most writes at a time.
    pub writes: usize,
    /// Longest time for the whole run; what is not done by then is left for a resume.
    pub timeout: Option<Duration>,
    /// What happens when another run holds the lock.
    pub lock: LockMode,
    /// How long a request is tried again while the API server can't be reached or fails by itself; a minute by default, which is what the
    /// replacement of a lone API server takes.
    pub retry: Duration,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { kind: GenerationKind::Up, writes: 32, timeout: None, lock: LockMode::Wait, retry: Duration::from_secs(60) }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Generation that was made or continued; `None` when there was nothing to record.
    pub generation: Option<u64>,
    /// Objects whose change was carried out, by action.
    pub done: BTreeMap<Action, usize>,
    /// Objects that the plan left as they are.
    pub unchanged: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Requests that it took.
    pub requests: RequestCounts,
}

/// One step that gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFailure {
    /// Name of the step.
    pub step: String,
    /// Object.
    pub resource: Option<ResourceId>,
    /// Why.
    pub verdict: Verdict,
    /// Template line of the object, if known.
    pub origin: Option<Origin>,
}

/// One object whose turn did not come because something before it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Object.
    pub resource: ResourceId,
    /// Step that failed.
    pub because: String,
}

/// Why a run stopped part-way. It can be resumed in every case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum StopReason {
    /// Someone asked to stop.
    Interrupted,
    /// The time for the whole run is over.
    TimedOut,
    /// Another run has taken the lock.
    LeaseLost {
        /// What is known of it.
        message: String,
    },
    /// The API server can't be reached.
    Unreachable {
        /// What it said last.
        message: String,
    },
    /// What was done can't be recorded.
    Journal {
        /// Why.
        message: String,
    },
}

/// Why a run did not begin. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// The release changed since the plan was made.
    Stale {
        /// Newest generation when the plan was made.
        planned: Option<u64>,
        /// Newest generation now.
        recorded: Option<u64>,
    },
    /// The plan was made for another cluster.
    OtherCluster {
        /// UID of the cluster in the plan.
        planned: String,
        /// UID of this one.
        found: String,
    },
    /// Another run holds the lock and lives.
    Locked {
        /// Who.
        holder: String,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// The plan has fatal findings.
    Findings {
        /// Those.
        findings: Vec<Finding>,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum RunOutcome {
    /// Everything is done and verified.
    Done {
        /// What was done.
        summary: Summary,
    },
    /// Some objects failed; what does not depend on them was done.
    Failed {
        /// What was done.
        summary: Summary,
        /// All that failed.
        failures: Vec<ObjectFailure>,
        /// Objects whose turn did not come.
        skipped: Vec<Skipped>,
    },
    /// The run stopped between steps; a resume goes on.
    Stopped {
        /// What was done.
        summary: Summary,
        /// Why.
        reason: StopReason,
        /// What had failed by then.
        failures: Vec<ObjectFailure>,
        /// Steps that are left.
        remaining: usize,
    },
    /// The run did not begin.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}
