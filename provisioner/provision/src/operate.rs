//! What all verbs that change a cluster share: flags, the question, the run and its end.

use std::time::Duration;

use clap::Args;
use provision_apply::{ApplyOptions, GenerationKind, LockMode, Refusal, RunOutcome, StopReason, apply};
use provision_model::{Plan, Severity};

use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::notices;
use crate::session::Session;
use crate::ui::outcome::show_outcome;
use crate::ui::{Ui, report};

/// Flags of verbs that change a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Longest time for the whole run: `90s`, `10m`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Most writes at a time.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Refuse when another run holds the lock, instead of waiting for it.
    #[arg(long)]
    no_wait_lock: bool,
}

impl RunArgs {
    pub(crate) fn options(&self, kind: GenerationKind) -> ApplyOptions {
        ApplyOptions {
            kind,
            writes: usize::from(self.parallel),
            timeout: self.timeout,
            lock: if self.no_wait_lock { LockMode::Refuse } else { LockMode::Wait },
            ..ApplyOptions::default()
        }
    }
}

/// Reads `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no time: write 90s, 10m or 2h"))?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is no time: write 90s, 10m or 2h"))
}

/// Asks on a terminal; without one only `--yes` is a yes.
pub(crate) fn confirm(ui: &Ui, args: &RunArgs, question: &str) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !ui.can_ask() {
        return Err(CliError::Refused {
            message: "this changes the cluster and nobody can be asked; nothing was done".to_owned(),
            help: "look at the plan above, then add `--yes`".to_owned(),
        });
    }
    if ui.confirm(question)? {
        return Ok(());
    }
    Err(CliError::Refused { message: "not confirmed; nothing was done".to_owned(), help: "run it again when it is right".to_owned() })
}

/// Runs a plan and shows how it ended.
pub(crate) async fn finish(session: &Session, plan: &Plan, options: ApplyOptions, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    session.install_programs()?;
    let listener = session.listen_for_interrupt()?;
    let work = async {
        let result = apply(&session.run, plan, options).await;
        notices::tell_new(session, plan).await;
        result
    };
    let result = ui.while_drawing(work).await;
    listener.abort();
    let outcome = result.map_err(CliError::apply)?;
    if let RunOutcome::Refused { refusal: Refusal::Findings { findings } } = &outcome {
        for finding in findings {
            ui.note(&report::finding_text(finding));
        }
    }
    ended(session, &outcome, ui)
}

/// Shows how a run ended and returns the exit code for it.
pub(crate) fn ended(session: &Session, outcome: &RunOutcome, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let status = status_of(outcome);
    show_outcome(ui, session.scope.release.as_str(), outcome, status)?;
    Ok(status)
}

/// Maps how a run ended to the exit codes of the contract.
fn status_of(outcome: &RunOutcome) -> ExitStatus {
    match outcome {
        RunOutcome::Done { .. } => ExitStatus::Done,
        RunOutcome::Failed { .. } => ExitStatus::Failed,
        RunOutcome::Stopped { reason: StopReason::Interrupted, .. } => ExitStatus::Interrupted,
        RunOutcome::Stopped { .. } => ExitStatus::Resumable,
        RunOutcome::Refused { refusal: Refusal::Findings { findings } }
            if findings.iter().any(|finding| finding.severity == Severity::Fatal) =>
        {
            ExitStatus::Invalid
        }
        RunOutcome::Refused { .. } => ExitStatus::Refused,
    }
}

#[cfg(test)]
mod tests {
    use provision_apply::Summary;
    use provision_model::Finding;

    use super::*;

    #[test]
    fn each_end_of_a_run_has_its_exit_code() {
        let summary = Summary::default();
        let stopped = |reason| RunOutcome::Stopped { summary: Summary::default(), reason, failures: Vec::new(), remaining: 1 };
        let refused = |refusal| RunOutcome::Refused { refusal };
        let findings = |finding| refused(Refusal::Findings { findings: vec![finding] });
        for (outcome, code) in [
            (RunOutcome::Done { summary: summary.clone() }, 0),
            (RunOutcome::Failed { summary, failures: Vec::new(), skipped: Vec::new() }, 1),
            (findings(Finding::fatal("kind-not-served", "no")), 2),
            (stopped(StopReason::TimedOut), 4),
            (stopped(StopReason::Unreachable { message: "gone".to_owned() }), 4),
            (refused(Refusal::Locked { holder: "someone".to_owned(), since: None }), 5),
            (refused(Refusal::Stale { planned: Some(1), recorded: Some(2) }), 5),
            (stopped(StopReason::Interrupted), 130),
        ] {
            assert_eq!(status_of(&outcome).code(), code, "{outcome:?}");
        }
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "5", "s", "1d", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
