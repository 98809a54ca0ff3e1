use anstyle::{AnsiColor, Style as Paint};
use provision_model::Plan;
use provision_plan::{Segment, Style, view};
use serde_json::json;

use super::Ui;
use crate::error::CliError;

/// Shows a plan: as text, as one document, or as an event of long work.
pub(crate) fn show_plan(ui: &mut Ui, plan: &Plan) -> Result<(), CliError> {
    if ui.is_long_work() {
        if ui.is_json() {
            let changes = plan.changes.iter().filter(|change| change.action.writes());
            let changes: Vec<_> =
                changes.map(|change| json!({"resource": change.id, "action": change.action, "reason": change.reason})).collect();
            return ui.stamped_event(&json!({"event": "plan", "changes": changes, "findings": plan.findings}));
        }
        ui.note(painted(&view(plan)).trim_end());
        return Ok(());
    }
    if ui.is_json() { ui.json(plan) } else { ui.text(&painted(&view(plan))) }
}

/// Colours segments; the stream drops the colours where they don't belong.
pub(crate) fn painted(segments: &[Segment]) -> String {
    segments
        .iter()
        .map(|segment| {
            let paint = paint(segment.style);
            format!("{paint}{}{paint:#}", segment.text)
        })
        .collect()
}

fn paint(style: Style) -> Paint {
    match style {
        Style::Plain => Paint::new(),
        Style::Heading => Paint::new().bold(),
        Style::Create => AnsiColor::Green.on_default(),
        Style::Update => AnsiColor::Yellow.on_default(),
        Style::Replace => AnsiColor::Magenta.on_default(),
        Style::Delete | Style::Fatal => AnsiColor::Red.on_default(),
        Style::Unchanged | Style::Dim => Paint::new().dimmed(),
        Style::Warning => AnsiColor::Yellow.on_default().bold(),
    }
}
