use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use provision_apply::{ObjectOutcome, Phase, Progress, ProgressSink, StepInfo, StepOutcome};
use provision_model::Action;
use serde_json::{Value, json};

use super::report;

/// Most lines of the live tree.
const LINES: usize = 14;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A tree that is drawn again and again, on a terminal.
    Live,
    /// One line for each thing that happened.
    Plain,
    /// One JSON event a line on stdout.
    Json,
}

/// Shows what a run does; clones share it.
#[derive(Clone)]
pub(crate) struct ProgressView {
    look: Look,
    tree: Arc<Mutex<Tree>>,
    bar: ProgressBar,
}

impl ProgressView {
    pub(crate) fn new(look: Look) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            if look == Look::Live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { look, tree: Arc::default(), bar }
    }

    /// Returns what a run reports to.
    pub(crate) fn sink(&self, run: &str) -> ProgressSink {
        let (view, run) = (self.clone(), run.to_owned());
        Arc::new(move |progress| view.take(&run, progress))
    }

    fn take(&self, run: &str, progress: Progress) {
        if self.look == Look::Json {
            write_event(&stamped(run, &progress));
            return;
        }
        let line = {
            let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
            let line = line_of(&progress);
            tree.take(progress, Instant::now());
            line
        };
        if let Some(line) = line {
            self.bar.suspend(|| write_note(&line));
        }
        self.draw();
    }

    /// Draws the tree anew; the elapsed times move on.
    pub(crate) fn draw(&self) {
        if self.look == Look::Live {
            let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
            self.bar.set_message(tree.lines(Instant::now()).join("\n"));
        }
    }

    /// Removes the tree.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Adds time and run to an event, as the contract has it.
pub(crate) fn stamped(run: &str, event: &impl serde::Serialize) -> Value {
    let mut stamped = json!({"time": jiff::Timestamp::now().to_string(), "run": run});
    if let (Some(map), Ok(Value::Object(fields))) = (stamped.as_object_mut(), serde_json::to_value(event)) {
        map.extend(fields);
    }
    stamped
}

fn write_event(event: &Value) {
    use std::io::Write;
    // A reader that went away must not stop the work.
    writeln!(std::io::stdout().lock(), "{event}").ok();
}

fn write_note(line: &str) {
    use std::io::Write;
    writeln!(anstream::stderr().lock(), "{line}").ok();
}

/// The line that stays for an event, if one does.
fn line_of(progress: &Progress) -> Option<String> {
    match progress {
        Progress::LockWaiting { holder, since } => {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            Some(format!("waits for the lock that {holder} holds{since}"))
        }
        Progress::Object { action, resource, outcome, reason } => {
            let (mark, verb) = match outcome {
                ObjectOutcome::Done => ("✓", past(*action)),
                ObjectOutcome::Failed => ("✗", "failed"),
                ObjectOutcome::Skipped => ("·", "skipped"),
            };
            let reason = if reason.is_empty() { String::new() } else { format!("  {reason}") };
            Some(format!("{mark} {verb:<9} {resource}{reason}"))
        }
        Progress::StepFinished { step, outcome: StepOutcome::Done, seconds, .. } if *seconds >= 1.0 => {
            Some(format!("✓ {step}  {seconds:.1} s"))
        }
        Progress::Finding { finding } => Some(report::finding_text(finding)),
        Progress::RunStarted { .. } | Progress::StepStarted { .. } | Progress::StepProgress { .. } | Progress::StepFinished { .. } => None,
    }
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::Replace => "replaced",
        Action::Delete => "deleted",
        Action::Release => "released",
        Action::Unchanged => "unchanged",
    }
}

/// What the live tree knows.
#[derive(Default)]
struct Tree {
    title: String,
    started: Option<Instant>,
    steps: Vec<StepInfo>,
    running: BTreeMap<String, (Instant, String)>,
    ended: BTreeSet<String>,
}

impl Tree {
    fn take(&mut self, progress: Progress, now: Instant) {
        match progress {
            Progress::RunStarted { release, generation, steps, .. } => {
                let number = generation.map_or_else(String::new, |number| format!(" · release {number}"));
                *self = Self { title: format!("{release}{number}"), started: Some(now), steps, ..Self::default() };
            }
            Progress::StepStarted { step } => {
                self.running.insert(step, (now, String::new()));
            }
            Progress::StepProgress { step, message } => {
                if let Some((_, text)) = self.running.get_mut(&step) {
                    *text = message;
                }
            }
            Progress::StepFinished { step, .. } => {
                self.running.remove(&step);
                self.ended.insert(step);
            }
            Progress::LockWaiting { .. } | Progress::Object { .. } | Progress::Finding { .. } => {}
        }
    }

    /// The tree as text: a title, what runs with its time, what waits for what, and how many more there are.
    fn lines(&self, now: Instant) -> Vec<String> {
        let Some(started) = self.started else { return Vec::new() };
        let mut lines = vec![format!("{} · {} · {}/{} steps", self.title, clock(now - started), self.ended.len(), self.steps.len())];
        let mut children = Vec::new();
        for (step, (since, message)) in &self.running {
            let mut line = format!("● {step}");
            if !message.is_empty() {
                write!(line, "  {message}").ok();
            }
            write!(line, "  {}", clock(now - *since)).ok();
            children.push(line);
        }
        let pending = self.steps.iter().filter(|step| !self.ended.contains(&step.step) && !self.running.contains_key(&step.step));
        let waiting = pending.filter(|step| matches!(step.phase, Phase::Apply | Phase::Delete | Phase::Verify | Phase::Release));
        for step in waiting {
            let blockers: Vec<&str> = step.after.iter().filter(|before| !self.ended.contains(*before)).map(String::as_str).collect();
            let more = if blockers.len() > 2 { format!(" and {} more", blockers.len() - 2) } else { String::new() };
            let blockers = blockers.iter().take(2).copied().collect::<Vec<_>>().join(", ");
            children.push(format!("○ {}  waits for {blockers}{more}", step.step));
        }
        let hidden = children.len().saturating_sub(LINES);
        children.truncate(LINES);
        if hidden > 0 {
            children.push(format!("… {hidden} more"));
        }
        let last = children.len().saturating_sub(1);
        lines.extend(
            children.into_iter().enumerate().map(|(place, line)| if place == last { format!("└─ {line}") } else { format!("├─ {line}") }),
        );
        lines
    }
}

fn clock(elapsed: Duration) -> String {
    format!("{:02}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_model::ResourceId;

    fn step(name: &str, after: &[&str]) -> StepInfo {
        StepInfo {
            step: name.to_owned(),
            resource: ResourceId::cluster("", "Namespace", "n"),
            phase: Phase::Apply,
            after: after.iter().map(|&step| step.to_owned()).collect(),
        }
    }

    #[test]
    fn the_tree_shows_what_runs_what_waits_and_for_how_long() {
        let begin = Instant::now();
        let mut tree = Tree::default();
        let steps = vec![step("apply a", &[]), step("apply b", &["apply a"]), step("apply c", &["apply a", "apply b"])];
        tree.take(
            Progress::RunStarted { environment: "dev".parse().unwrap(), release: "dev".parse().unwrap(), generation: Some(4), steps },
            begin,
        );
        tree.take(Progress::StepStarted { step: "apply a".into() }, begin);
        tree.take(Progress::StepProgress { step: "apply a".into(), message: "1 of 2 ready".into() }, begin);
        assert_eq!(
            tree.lines(begin + Duration::from_secs(65)),
            [
                "dev · release 4 · 01:05 · 0/3 steps",
                "├─ ● apply a  1 of 2 ready  01:05",
                "├─ ○ apply b  waits for apply a",
                "└─ ○ apply c  waits for apply a, apply b",
            ]
        );
    }
}
