use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use provision_apply::{ObjectFailure, Refusal, RunOutcome, Skipped, StopReason, Summary};
use provision_model::Action;
use serde_json::json;

use super::Ui;
use crate::error::CliError;
use crate::exit::ExitStatus;

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Shows how a run ended: the last event for programs, a summary with every cause for people.
pub(crate) fn show_outcome(ui: &mut Ui, release: &str, outcome: &RunOutcome, status: ExitStatus) -> Result<(), CliError> {
    if ui.is_json() {
        let mut event = json!({"event": "run_finished", "exit_code": status.code(), "summary": outcome});
        event["outcome"] = json!(word(outcome));
        return ui.stamped_event(&event);
    }
    ui.note(&text(release, outcome));
    Ok(())
}

fn word(outcome: &RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Done { .. } => "done",
        RunOutcome::Failed { .. } => "failed",
        RunOutcome::Stopped { .. } => "stopped",
        RunOutcome::Refused { .. } => "refused",
    }
}

fn text(release: &str, outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Done { summary } => format!("{GOOD}done{GOOD:#}  {release}: {}", counts(summary)),
        RunOutcome::Failed { summary, failures, skipped } => {
            let mut text = String::new();
            for failure in failures {
                text.push_str(&failure_text(failure));
            }
            text.push_str(&skipped_text(skipped));
            write!(text, "{BAD}failed{BAD:#}  {release}: {}; {} failed", counts(summary), failures.len()).ok();
            text
        }
        RunOutcome::Stopped { summary, reason, failures, remaining } => {
            let mut text: String = failures.iter().map(failure_text).collect();
            let why = match reason {
                StopReason::Interrupted => "interrupted".to_owned(),
                StopReason::TimedOut => "the time for the whole run is over".to_owned(),
                StopReason::LeaseLost { message } | StopReason::Unreachable { message } | StopReason::Journal { message } => {
                    message.clone()
                }
            };
            write!(text, "{BAD}stopped{BAD:#}  {release}: {why}; {}, {remaining} steps remain", counts(summary)).ok();
            write!(text, "\n  {DIM}next:{DIM:#} go on with `provision resume`").ok();
            text
        }
        RunOutcome::Refused { refusal } => refusal_text(refusal),
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let (why, next) = match refusal {
        Refusal::Stale { planned, recorded } => {
            let number = |n: &Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
            let why = format!("another run recorded a release meanwhile ({} instead of {})", number(recorded), number(planned));
            (why, "run it again; it plans anew")
        }
        Refusal::OtherCluster { planned, found } => {
            (format!("the plan is for cluster {planned}, this is {found}"), "use the context it was made with")
        }
        Refusal::Locked { holder, since } => {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            (
                format!("locked by {holder}{since}"),
                "wait for that run, or leave out `--no-wait-lock`; the lock of a killed run ends by itself in 10 s",
            )
        }
        Refusal::Findings { findings } => (format!("{} findings, shown above", findings.len()), "settle them and run it again"),
    };
    format!("{BAD}refused{BAD:#}  {why}; nothing was done\n  {DIM}next:{DIM:#} {next}")
}

fn counts(summary: &Summary) -> String {
    let mut parts = Vec::new();
    for (action, word) in [
        (Action::Create, "created"),
        (Action::Update, "updated"),
        (Action::Replace, "replaced"),
        (Action::Delete, "deleted"),
        (Action::Release, "released"),
    ] {
        if let Some(count) = summary.done.get(&action).filter(|count| **count > 0) {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.push(format!("{} unchanged", summary.unchanged));
    let number = summary.generation.map_or_else(String::new, |number| format!("release {number}, "));
    format!("{number}{} in {:.1} s", parts.join(", "), summary.elapsed.as_secs_f64())
}

fn failure_text(failure: &ObjectFailure) -> String {
    let subject = failure.resource.as_ref().map_or_else(|| failure.step.clone(), ToString::to_string);
    let verdict = &failure.verdict;
    let cause = verdict.cause.map_or_else(String::new, |cause| format!(" [{cause}]"));
    let mut text = format!("{BAD}✗{BAD:#} {subject}{cause}: {}\n", verdict.message);
    let evidence = &verdict.evidence;
    if let Some(subject) = &evidence.subject {
        let container = evidence.container.as_ref().map_or_else(String::new, |container| format!(", container {container}"));
        let code = evidence.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
        writeln!(text, "  {DIM}seen on:{DIM:#} {subject}{container}{code}").ok();
    }
    if let Some(message) = evidence.message.as_ref().filter(|message| **message != verdict.message) {
        writeln!(text, "  {DIM}said:{DIM:#} {message}").ok();
    }
    for line in &evidence.logs {
        writeln!(text, "  {DIM}│{DIM:#} {line}").ok();
    }
    if let Some(origin) = &failure.origin {
        writeln!(text, "  {DIM}made by:{DIM:#} {origin}").ok();
    }
    if let Some(next) = &verdict.next {
        writeln!(text, "  {DIM}next:{DIM:#} {next}").ok();
    }
    text
}

fn skipped_text(skipped: &[Skipped]) -> String {
    skipped.iter().fold(String::new(), |mut text, skip| {
        writeln!(text, "{DIM}· {} was not reached because of: {}{DIM:#}", skip.resource, skip.because).ok();
        text
    })
}
