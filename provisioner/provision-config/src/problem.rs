use std::fmt;

use provision_model::{Finding, Origin};
use serde::Serialize;

use crate::Sources;

/// The line of an input file that a problem points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Length of the marked part in characters, at least 1.
    pub length: u32,
    /// The whole line.
    pub text: String,
}

/// One thing that is wrong in the input, with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong and where; the first origin is the place, the others are places it has to do with.
    pub finding: Finding,
    /// The line of the first origin; `None` when no file is involved.
    pub excerpt: Option<Excerpt>,
}

/// Everything that is wrong in an input.
///
/// Invariant: there is at least one problem. No secret value is ever part of one: the input holds only references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    /// The problems, ordered by file, line and column.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Builds the error from findings; `None` when there are none.
    pub(crate) fn of(sources: &Sources, findings: Vec<Finding>) -> Option<Self> {
        let mut findings = findings;
        findings.sort_by(|a, b| a.origins.first().cmp(&b.origins.first()).then_with(|| a.code.cmp(&b.code)));
        findings.dedup();
        let problems: Vec<Problem> = findings
            .into_iter()
            .map(|finding| Problem { excerpt: finding.origins.first().and_then(|origin| excerpt(sources, origin)), finding })
            .collect();
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// Builds the error from one finding.
    pub(crate) fn one(sources: &Sources, finding: Finding) -> Self {
        let excerpt = finding.origins.first().and_then(|origin| excerpt(sources, origin));
        Self { problems: vec![Problem { finding, excerpt }] }
    }
}

/// One line a problem: `file:line:column: message (code)`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Problem { finding, .. }) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            if let Some(origin) = finding.origins.first() {
                write!(f, "{origin}: ")?;
            }
            write!(f, "{} ({})", finding.message, finding.code)?;
            if let Some(help) = &finding.help {
                write!(f, "; {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

fn excerpt(sources: &Sources, origin: &Origin) -> Option<Excerpt> {
    let line = usize::try_from(origin.line).ok()?.checked_sub(1)?;
    let text = sources.text(&origin.file)?.lines().nth(line)?;
    let start = usize::try_from(origin.column).ok()?.saturating_sub(1);
    let length = text.chars().skip(start).take_while(|c| !c.is_whitespace() && !matches!(c, ':' | ',' | ']' | '}' | '#')).count().max(1);
    Some(Excerpt { line: origin.line, column: origin.column, length: u32::try_from(length).unwrap_or(1), text: text.to_owned() })
}
