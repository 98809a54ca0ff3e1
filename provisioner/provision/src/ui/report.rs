use std::error::Error;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use miette::Diagnostic;
use provision_config::{ConfigErrors, Problem};
use provision_model::{Finding, Severity};
use serde_json::json;

use super::Ui;
use crate::error::CliError;
use crate::exit::ExitStatus;

const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Shows an error: as text on stderr, and for programs as a document on stdout too.
pub(super) fn show(ui: &mut Ui, error: &CliError) {
    let CliError::Config(errors) = error else {
        show_chain(ui, error);
        return;
    };
    for problem in &errors.problems {
        ui.note(&problem_text(problem));
    }
    ui.note(&format!("{BAD}error{BAD:#}: {error}"));
    document(ui, error, config_document(errors));
}

fn show_chain(ui: &mut Ui, error: &CliError) {
    let mut text = format!("{BAD}error{BAD:#}: {error}");
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if causes.last() != Some(&message) {
            write!(text, "\n  because: {message}").ok();
            causes.push(message);
        }
        source = cause.source();
    }
    let help = error.help().map(|help| help.to_string());
    if let Some(help) = &help {
        write!(text, "\n  {DIM}next:{DIM:#} {help}").ok();
    }
    ui.note(&text);
    let code = error.code().map(|code| code.to_string());
    document(
        ui,
        error,
        json!({"code": code, "message": error.to_string(), "causes": causes, "help": help, "exit_code": error.exit().code()}),
    );
}

/// Writes the error for programs: the last event of long work, or the one document.
fn document(ui: &mut Ui, error: &CliError, fields: serde_json::Value) {
    if !ui.is_json() {
        return;
    }
    let exit = error.exit();
    // There is nobody left to tell when stdout is gone.
    if ui.is_long_work() {
        let outcome = if exit == ExitStatus::Refused { "refused" } else { "failed" };
        ui.stamped_event(&json!({"event": "run_finished", "outcome": outcome, "exit_code": exit.code(), "summary": fields})).ok();
    } else if !ui.has_document() {
        // A document that is out already holds the findings; a second one could not be read.
        ui.json(&json!({ "error": fields })).ok();
    }
}

fn config_document(errors: &ConfigErrors) -> serde_json::Value {
    let problems: Vec<&Finding> = errors.problems.iter().map(|problem| &problem.finding).collect();
    json!({"code": "provision::config", "exit_code": 2, "problems": problems})
}

/// Formats a problem with its place and the line that it is on.
pub(crate) fn problem_text(problem: &Problem) -> String {
    let mut text = finding_text(&problem.finding);
    if let Some(excerpt) = &problem.excerpt {
        let number = excerpt.line.to_string();
        let margin = " ".repeat(number.len());
        let before = " ".repeat(excerpt.column.saturating_sub(1) as usize);
        let mark = "^".repeat(excerpt.length.max(1) as usize);
        let excerpt_text = format!("\n  {DIM}{number} |{DIM:#} {}\n  {margin} {DIM}|{DIM:#} {before}{BAD}{mark}{BAD:#}", excerpt.text);
        // The excerpt belongs under the first line, before the help.
        match text.find('\n') {
            Some(place) => text.insert_str(place, &excerpt_text),
            None => text.push_str(&excerpt_text),
        }
    }
    text
}

/// Most places that are listed of one finding; the JSON form has all.
const PLACES: usize = 10;

/// Formats a finding: place, severity, message; then further places and what to do.
pub(crate) fn finding_text(finding: &Finding) -> String {
    let (style, word) = match finding.severity {
        Severity::Fatal => (BAD, "error"),
        Severity::Warning => (WARN, "warning"),
        Severity::Info => (DIM, "note"),
    };
    let place = finding.origins.first().map_or_else(String::new, |origin| format!("{origin}: "));
    let subject = finding.resource.as_ref().map_or_else(String::new, |id| format!("{id}: "));
    let mut text = format!("{place}{style}{word}[{}]{style:#}: {subject}{}", finding.code, finding.message);
    for origin in finding.origins.iter().take(PLACES).skip(1) {
        write!(text, "\n  {DIM}also:{DIM:#} {origin}").ok();
    }
    if let Some(rest) = finding.origins.len().checked_sub(PLACES).filter(|rest| *rest > 0) {
        write!(text, "\n  {DIM}also:{DIM:#} {rest} more places").ok();
    }
    if let Some(help) = &finding.help {
        write!(text, "\n  {DIM}next:{DIM:#} {help}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use provision_model::Origin;

    use super::*;

    #[test]
    fn a_finding_with_many_places_lists_the_first_and_counts_the_rest() {
        let mut finding = Finding::fatal("dangling-reference", "Namespace/x is not there");
        finding.origins = (1..=12).map(|line| Origin::new("a.yaml", line, 1)).collect();
        let text = finding_text(&finding);
        assert!(text.starts_with("a.yaml:1:1: ") && text.contains("a.yaml:10:1") && !text.contains("a.yaml:11:1"), "{text}");
        assert!(text.ends_with("2 more places"), "{text}");
    }
}
