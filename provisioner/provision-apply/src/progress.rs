use jiff::Timestamp;
use provision_model::{Action, EnvironmentName, Finding, ReleaseName, ResourceId, Verdict};
use serde::{Deserialize, Serialize};

/// What a step of a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It writes an object.
    Apply,
    /// It waits until an object is ready.
    Ready,
    /// It asks a Service whether something answers.
    Verify,
    /// It deletes an object.
    Delete,
    /// It waits until an object is gone.
    Gone,
    /// It ends the ownership of an object that stays.
    Release,
}

/// One step of a run, as it is told before the run begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInfo {
    /// Name, unique in the run: `apply ConfigMap/feature-system/settings`.
    pub step: String,
    /// Object.
    pub resource: ResourceId,
    /// What it does.
    pub phase: Phase,
    /// Steps that must be done first.
    pub after: Vec<String>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It did its work.
    Done,
    /// It did not run: it was done before, or what it comes after failed.
    Skipped,
    /// It gave up.
    Failed,
    /// Its effect was taken back.
    Undone,
}

/// How an object's part of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectOutcome {
    /// It is as the plan wants it.
    Done,
    /// It is not.
    Failed,
    /// Its turn did not come.
    Skipped,
}

/// What a run tells while it runs. No secret value is in any of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Progress {
    /// The work begins.
    RunStarted {
        /// Environment.
        environment: EnvironmentName,
        /// Release.
        release: ReleaseName,
        /// Generation that it makes or continues; `None` when nothing will be recorded.
        generation: Option<u64>,
        /// Every step.
        steps: Vec<StepInfo>,
    },
    /// Another run holds the lock; this one waits.
    LockWaiting {
        /// Who holds it.
        holder: String,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// A step starts.
    StepStarted {
        /// Name.
        step: String,
    },
    /// A step that waits has something to say.
    StepProgress {
        /// Name.
        step: String,
        /// One sentence.
        message: String,
    },
    /// A step ended.
    StepFinished {
        /// Name.
        step: String,
        /// How.
        outcome: StepOutcome,
        /// How long it took.
        seconds: f64,
        /// Why, for one that failed.
        verdict: Option<Verdict>,
    },
    /// An object's part is over.
    Object {
        /// What was to be done.
        action: Action,
        /// Object.
        resource: ResourceId,
        /// How it ended.
        outcome: ObjectOutcome,
        /// Why, in a few words.
        reason: String,
    },
    /// Something worth knowing that stops nothing.
    Finding {
        /// What.
        finding: Finding,
    },
}
