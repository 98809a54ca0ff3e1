//! Plans and drift as text for people.

use std::collections::HashMap;

use provision_model::{Action, Change, Edge, FieldChange, FieldOwner, Finding, Plan, ResourceId, Severity};
use serde_json::Value;

use crate::change::{owner_text, writers};
use crate::drift::{Drift, DriftKind};
use crate::error::reason_text;

/// Most things of one kind that are listed under one object.
const LISTED: usize = 4;
/// Most places that are listed of one finding; the JSON form has all.
const PLACES: usize = 10;
/// Most characters of a value that are shown.
const VALUE_WIDTH: usize = 80;

/// What a piece of text means; the binary maps it to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Ordinary text.
    Plain,
    /// A title or the summary.
    Heading,
    /// Something that will be made.
    Create,
    /// Something that will change.
    Update,
    /// Something that will be deleted and made again.
    Replace,
    /// Something that goes.
    Delete,
    /// Something that stays as it is.
    Unchanged,
    /// Something less important.
    Dim,
    /// A warning.
    Warning,
    /// What stops the apply.
    Fatal,
}

/// A piece of text with its meaning; lines end with `\n` inside the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it means.
    pub style: Style,
    /// The text.
    pub text: String,
}

/// Joins segments without their styles.
pub fn plain(segments: &[Segment]) -> String {
    segments.iter().map(|segment| segment.text.as_str()).collect()
}

#[derive(Default)]
struct Page(Vec<Segment>);

impl Page {
    fn put(&mut self, style: Style, text: impl Into<String>) {
        self.0.push(Segment { style, text: text.into() });
    }

    fn line(&mut self, style: Style, text: &str) {
        self.put(style, format!("{text}\n"));
    }

    fn field(&mut self, change: &FieldChange) {
        self.put(Style::Plain, format!("      {}: ", change.path));
        self.put(Style::Delete, value_text(change.before.as_ref()));
        self.put(Style::Dim, " -> ");
        self.put(Style::Create, value_text(change.after.as_ref()));
        self.put(Style::Plain, "\n");
    }
}

/// Shows a plan: each change in order with its fields, other owners and what it waits for, then findings and a summary.
pub fn view(plan: &Plan) -> Vec<Segment> {
    let mut page = Page::default();
    let region = plan.region.as_ref().map(|region| format!(", region {region}")).unwrap_or_default();
    let cluster = plan.cluster.uid.get(..8).unwrap_or(&plan.cluster.uid);
    page.line(Style::Heading, &format!("{}{region} on cluster {cluster} ({})", plan.environment, plan.cluster.version));
    let mut before: HashMap<&ResourceId, Vec<&Edge>> = HashMap::new();
    let writes: HashMap<&ResourceId, bool> = plan.changes.iter().map(|change| (&change.id, change.action.writes())).collect();
    for edge in plan.edges.iter().filter(|edge| writes.get(&edge.before).copied().unwrap_or(false)) {
        before.entry(&edge.after).or_default().push(edge);
    }
    for change in plan.changes.iter().filter(|change| change.action.writes() || change.manifest.is_none()) {
        show_change(change, before.get(&change.id).map_or(&[], Vec::as_slice), &mut page);
    }
    for edge in &plan.dropped {
        let text = format!("  not ordered: {} before {} ({}), it would close a cycle", edge.before, edge.after, reason_text(&edge.reason));
        page.line(Style::Dim, &text);
    }
    show_findings(&plan.findings, &mut page);
    page.put(Style::Plain, "\n");
    page.line(Style::Heading, &summary(plan));
    page.0
}

fn look(action: Action) -> (Style, &'static str) {
    match action {
        Action::Create => (Style::Create, "+ create "),
        Action::Update => (Style::Update, "~ update "),
        Action::Replace => (Style::Replace, "± replace"),
        Action::Delete => (Style::Delete, "- delete "),
        Action::Release => (Style::Unchanged, "○ release"),
        Action::Unchanged => (Style::Unchanged, "  leave  "),
    }
}

fn show_change(change: &Change, before: &[&Edge], page: &mut Page) {
    let (style, word) = look(change.action);
    page.put(style, format!("  {word} {}", change.id));
    page.line(Style::Dim, &format!("  {}", change.reason));
    for field in &change.diff {
        page.field(field);
    }
    show_others(&change.others, page);
    if !before.is_empty() && change.action.writes() {
        let listed: Vec<String> =
            before.iter().take(LISTED).map(|edge| format!("{} ({})", edge.before, reason_text(&edge.reason))).collect();
        page.line(Style::Dim, &format!("      after {}{}", listed.join(", "), more(before.len())));
    }
}

fn show_others(others: &[FieldOwner], page: &mut Page) {
    for owner in others.iter().take(LISTED) {
        page.line(Style::Warning, &format!("      {} is owned by {}", owner.path, owner_text(owner)));
    }
    if others.len() > LISTED {
        page.line(Style::Warning, &format!("      {} other owners of fields in all", others.len()));
    }
}

fn more(count: usize) -> String {
    if count > LISTED { format!(" and {} more", count - LISTED) } else { String::new() }
}

fn show_findings(findings: &[Finding], page: &mut Page) {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in sorted {
        let (style, word) = match finding.severity {
            Severity::Fatal => (Style::Fatal, "error"),
            Severity::Warning => (Style::Warning, "warning"),
            Severity::Info => (Style::Dim, "note"),
        };
        page.put(style, format!("\n  {word} {}: ", finding.code));
        page.line(Style::Plain, &finding.message);
        for origin in finding.origins.iter().take(PLACES) {
            page.line(Style::Dim, &format!("      at {origin}"));
        }
        if let Some(rest) = finding.origins.len().checked_sub(PLACES).filter(|rest| *rest > 0) {
            page.line(Style::Dim, &format!("      and {rest} more"));
        }
        if let Some(help) = &finding.help {
            page.line(Style::Plain, &format!("      help: {help}"));
        }
    }
}

fn summary(plan: &Plan) -> String {
    let parts = [
        (Action::Create, "to create"),
        (Action::Update, "to update"),
        (Action::Replace, "to replace"),
        (Action::Delete, "to delete"),
        (Action::Release, "to release"),
        (Action::Unchanged, "unchanged"),
    ];
    let always = |action| !matches!(action, Action::Replace | Action::Release);
    let counted: Vec<String> = parts
        .into_iter()
        .map(|(action, words)| (action, plan.count(action), words))
        .filter(|(action, count, _)| *count > 0 || always(*action))
        .map(|(_, count, words)| format!("{count} {words}"))
        .collect();
    let blocked = plan.findings.iter().filter(|finding| finding.severity == Severity::Fatal).count();
    let end = match blocked {
        0 => String::new(),
        1 => "; nothing is applied: 1 error".to_owned(),
        count => format!("; nothing is applied: {count} errors"),
    };
    format!("Plan: {}{end}", counted.join(", "))
}

/// Shows drift: each object, what happened to it, and who changed which field.
pub fn view_drift(drift: &[Drift]) -> Vec<Segment> {
    let mut page = Page::default();
    for drift in drift {
        let (style, text) = match &drift.kind {
            DriftKind::Missing => (Style::Delete, "is gone"),
            DriftKind::Terminating => (Style::Delete, "is being deleted"),
            DriftKind::Replaced { .. } => (Style::Replace, "was deleted and made again"),
            DriftKind::Changed => (Style::Update, "was changed"),
        };
        page.put(style, format!("  {} {text}", drift.id));
        page.line(Style::Dim, &format!("  {}", drift.origin));
        for field in &drift.fields {
            page.field(&field.change);
            if let Some(writers) = writers(&field.owners) {
                page.line(Style::Dim, &format!("        by {writers}"));
            }
        }
    }
    let text = match drift.len() {
        0 => "No drift".to_owned(),
        1 => "Drift in 1 object".to_owned(),
        count => format!("Drift in {count} objects"),
    };
    page.line(Style::Heading, &text);
    page.0
}

fn value_text(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(VALUE_WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
