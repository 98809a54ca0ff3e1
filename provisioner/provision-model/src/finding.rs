use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Origin, ResourceId};

/// How bad a finding is. Only `Fatal` stops an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably wrong; the apply goes on.
    Warning,
    /// Wrong; nothing is applied.
    Fatal,
}

/// A stable, machine-readable name of what was found, such as `unknown-key` or `dangling-reference`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingCode(pub String);

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that a check found. Checks collect all of them; they do not stop at the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem.
    pub code: FindingCode,
    /// What is wrong, in one sentence, without any secret value.
    pub message: String,
    /// What to do next, if there is something.
    pub help: Option<String>,
    /// Which object it concerns, if one.
    pub resource: Option<ResourceId>,
    /// Where in the input it comes from, most specific first; empty when no input caused it.
    pub origins: Vec<Origin>,
}

impl Finding {
    /// Builds a fatal finding without help, resource or origin.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Fatal, code, message)
    }

    /// Builds a warning without help, resource or origin.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Builds a finding without help, resource or origin.
    pub fn new(severity: Severity, code: &str, message: impl Into<String>) -> Self {
        Self { severity, code: FindingCode(code.to_owned()), message: message.into(), help: None, resource: None, origins: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the object that it concerns.
    #[must_use]
    pub fn on(mut self, resource: ResourceId) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Adds a place in the input.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origins.push(origin);
        self
    }
}
