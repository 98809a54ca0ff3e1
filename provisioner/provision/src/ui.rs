use std::io::{IsTerminal, Write};

use provision_apply::ProgressSink;
use serde::Serialize;

use crate::args::OutputFormat;
use crate::error::CliError;
use crate::log::Logs;
use crate::log::progress::logged;
use crate::ui::progress::{Look, ProgressView, stamped};

pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod report;

/// Where results and remarks go: results to stdout, everything else to stderr; colour only on terminals.
pub(crate) struct Ui {
    format: OutputFormat,
    logs: Logs,
    long_work: bool,
    has_document: bool,
    run: String,
    progress: Option<ProgressView>,
}

impl Ui {
    /// Starts a run with a new id.
    pub(crate) fn new(format: OutputFormat, logs: Logs) -> Self {
        Self { format, logs, long_work: false, has_document: false, run: run_id(), progress: None }
    }

    /// Tells whether stdout is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// From here on JSON output is one event a line, and results that are not events go to stderr.
    pub(crate) fn long_work(&mut self) {
        self.long_work = true;
    }

    /// Tells whether [`Ui::long_work`] was called.
    pub(crate) fn is_long_work(&self) -> bool {
        self.long_work
    }

    /// Returns the id of this run.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Returns what the run reports to.
    pub(crate) fn start_progress(&mut self) -> ProgressSink {
        let live = self.logs == Logs::Off && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let look = match (self.is_json(), live) {
            (true, _) => Look::Json,
            (false, true) => Look::Live,
            (false, false) => Look::Plain,
        };
        let view = ProgressView::new(look);
        let sink = view.sink(&self.run);
        self.progress = Some(view);
        match self.logs {
            Logs::On => logged(sink),
            Logs::Off => sink,
        }
    }

    /// Draws the progress again and again until `work` ends, then removes it.
    pub(crate) async fn while_drawing<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(view) = &self.progress else { return work.await };
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(250));
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => view.draw(),
            }
        };
        view.end();
        result
    }

    /// Writes an event with time and run to stdout.
    pub(crate) fn stamped_event(&mut self, event: &impl Serialize) -> Result<(), CliError> {
        let event = stamped(&self.run, event);
        self.event(&event)
    }

    /// Says that long work was not needed; for programs this is the last event.
    pub(crate) fn done_without_work(&mut self, text: &str) -> Result<(), CliError> {
        if self.is_json() {
            return self.stamped_event(
                &serde_json::json!({"event": "run_finished", "outcome": "done", "exit_code": 0, "summary": {"message": text}}),
            );
        }
        self.note(text);
        Ok(())
    }

    /// Writes text to stdout as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        finish(anstream::stdout().lock().write_all(text.as_bytes()))
    }

    /// Tells whether the one JSON document is out.
    pub(crate) fn has_document(&self) -> bool {
        self.has_document
    }

    /// Writes the one JSON document to stdout.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        self.has_document = true;
        let text = serde_json::to_string_pretty(document).map_err(|source| CliError::Output { source: source.into() })?;
        self.text(&format!("{text}\n"))
    }

    /// Writes one JSON event to stdout, on one line.
    pub(crate) fn event(&mut self, event: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(event).map_err(|source| CliError::Output { source: source.into() })?;
        self.text(&format!("{text}\n"))
    }

    /// Writes a remark to stderr.
    pub(crate) fn note(&self, text: &str) {
        // A remark that can't be shown must not stop the work.
        writeln!(anstream::stderr().lock(), "{text}").ok();
    }

    /// Tells whether a question can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks for a yes; anything else is a no.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        write!(anstream::stderr().lock(), "{question} [y/N] ").ok();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(|source| CliError::Output { source })?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Shows an error with its causes and what to do next.
    pub(crate) fn error(&mut self, error: &CliError) {
        report::show(self, error);
    }
}

/// A reader that went away (`| head`) is no failure.
fn finish(result: std::io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(source) if source.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(CliError::Output { source }),
        Ok(()) => Ok(()),
    }
}

/// Eight random hex digits: long enough to tell runs apart, short enough to read aloud.
fn run_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:08x}", seed >> 32)
}
