use std::sync::Arc;

use provision_apply::{Progress, ProgressSink, StepOutcome};
use provision_model::{Finding, Plan, Severity};

const RUN: &str = "provision::run";
const PLAN: &str = "provision::plan";
const FINDING: &str = "provision::finding";

/// Logs what a run tells, then passes it on.
pub(crate) fn logged(sink: ProgressSink) -> ProgressSink {
    Arc::new(move |progress| {
        log(&progress);
        sink(progress);
    })
}

/// Milliseconds are enough.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn log(progress: &Progress) {
    match progress {
        Progress::RunStarted { release, generation, steps, .. } => {
            tracing::info!(target: RUN, %release, generation, steps = steps.len(), "run started");
        }
        Progress::LockWaiting { holder, since } => {
            tracing::info!(target: RUN, holder, since = since.map(tracing::field::display), "waiting for the lock");
        }
        Progress::StepStarted { step } => tracing::info!(target: RUN, step, "step started"),
        Progress::StepProgress { step, message } => tracing::debug!(target: RUN, step, "{message}"),
        Progress::StepFinished { step, outcome: StepOutcome::Failed, seconds, verdict } => {
            let cause = verdict.as_ref().and_then(|verdict| verdict.cause).map(tracing::field::display);
            let message = verdict.as_ref().map_or("", |verdict| verdict.message.as_str());
            tracing::warn!(target: RUN, step, seconds = rounded(*seconds), cause, "step failed: {message}");
        }
        Progress::StepFinished { step, outcome, seconds, .. } => {
            tracing::info!(target: RUN, step, seconds = rounded(*seconds), ?outcome, "step finished")
        }
        Progress::Object { action, resource, outcome, reason } => {
            tracing::debug!(target: RUN, %resource, ?action, ?outcome, reason, "object");
        }
        Progress::Finding { finding } => log_finding(finding),
    }
}

/// Logs what was decided for each object, and why.
pub(crate) fn log_decisions(plan: &Plan) {
    for change in &plan.changes {
        let (resource, action, reason) = (&change.id, change.action, change.reason.as_str());
        if action.writes() {
            tracing::info!(target: PLAN, %resource, ?action, reason, fields = change.diff.len(), "decided");
        } else {
            tracing::debug!(target: PLAN, %resource, ?action, reason, "decided");
        }
    }
    plan.findings.iter().for_each(log_finding);
}

fn log_finding(finding: &Finding) {
    let resource = finding.resource.as_ref().map(tracing::field::display);
    match finding.severity {
        Severity::Fatal => tracing::error!(target: FINDING, code = %finding.code, resource, "{}", finding.message),
        Severity::Warning => tracing::warn!(target: FINDING, code = %finding.code, resource, "{}", finding.message),
        Severity::Info => tracing::info!(target: FINDING, code = %finding.code, resource, "{}", finding.message),
    }
}
