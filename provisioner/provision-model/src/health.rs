use std::fmt;

use serde::{Deserialize, Serialize};

/// State of one object, as in contract.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Health {
    /// It is what it should be.
    Current,
    /// It is on its way.
    InProgress,
    /// It will not get there by itself.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    NotFound,
    /// Its state can't be read.
    Unknown,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Why an object does not come up: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The image can't be pulled.
    ImagePull,
    /// A container ends again and again.
    CrashLoop,
    /// A container was killed for its memory limit.
    Oom,
    /// A probe fails.
    Probe,
    /// No node takes the pod.
    Unschedulable,
    /// A quota or limit range refuses it.
    Quota,
    /// A volume can't be bound or mounted.
    Volume,
    /// A ConfigMap, Secret or key that it needs is not there.
    ConfigMissing,
    /// Admission (webhook, policy, validation) refuses it.
    Admission,
    /// It was not ready in time, and nothing more precise is known.
    Deadline,
    /// A Job failed.
    JobFailed,
    /// Something that it depends on failed.
    Dependency,
    /// Another manager owns a field or changed the object meanwhile.
    Conflict,
    /// The API server forbids the request.
    Forbidden,
    /// The API server can't be reached.
    Unreachable,
    /// An object does not go away: a finalizer is never removed.
    Finalizer,
    /// A Service has no ready endpoint, or nothing answers through it.
    Endpoints,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// What a verdict rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Object that shows it, mostly a pod: `Pod/feature-system/api-gateway-6f7-x`.
    pub subject: Option<String>,
    /// Container, if one.
    pub container: Option<String>,
    /// Message of an Event or condition.
    pub message: Option<String>,
    /// Exit code of the container.
    pub exit_code: Option<i32>,
    /// Last log lines, at most 20, with secret values masked.
    pub logs: Vec<String>,
}

/// The state of one object with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// State.
    pub health: Health,
    /// Cause, for what failed or is stuck.
    pub cause: Option<Cause>,
    /// One sentence for a person.
    pub message: String,
    /// What it rests on.
    pub evidence: Evidence,
    /// What to do next.
    pub next: Option<String>,
}

impl Verdict {
    /// Builds a verdict without cause and evidence.
    pub fn new(health: Health, message: impl Into<String>) -> Self {
        Self { health, cause: None, message: message.into(), evidence: Evidence::default(), next: None }
    }

    /// Builds a failed verdict.
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause: Some(cause), ..Self::new(Health::Failed, message) }
    }

    /// Adds what it rests on.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
