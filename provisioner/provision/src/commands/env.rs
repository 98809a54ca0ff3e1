use clap::{Args, Subcommand};
use provision_config::{RenderInputs, Selection, ValueEntry, env_diff, json_schema, render, value_to_yaml};
use provision_model::Severity;
use serde_json::json;

use crate::args::GlobalArgs;
use crate::context;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::{Ui, report};

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// List the environments and their regions.
    ///
    /// Example: provision env list
    List,
    Show(ShowArgs),
    Diff(DiffArgs),
    /// Check an environment, its templates and the objects they give; all problems at once.
    ///
    /// Example: provision env check --env prod --region us-east
    Check,
    /// Write the JSON Schema of environment files, for editors.
    ///
    /// Example: provision env schema > environments.schema.json
    Schema,
}

/// Show the merged values of an environment.
///
/// Examples:
///   provision env show --env prod
///   provision env show --env prod --region eu-west --origin services.api-gateway
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ShowArgs {
    /// Only values at or below this path.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Say for each value which line set it and what that overrode.
    #[arg(long)]
    origin: bool,
}

/// Compare two environments: values and rendered objects. Exits with 3 when they differ.
///
/// Example: provision env diff staging prod/us-east
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// First environment, with its region behind a `/`.
    #[arg(value_name = "A")]
    a: String,
    /// Second environment, with its region behind a `/`.
    #[arg(value_name = "B")]
    b: String,
}

pub(crate) fn run(command: EnvCommand, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    match command {
        EnvCommand::List => list(global, ui),
        EnvCommand::Show(args) => show(&args, global, ui),
        EnvCommand::Diff(args) => diff(&args, global, ui),
        EnvCommand::Check => check(global, ui),
        EnvCommand::Schema => {
            ui.json(&json_schema())?;
            Ok(ExitStatus::Done)
        }
    }
}

fn list(global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let environments: Vec<_> = sources.environments().into_iter().map(|name| (sources.regions(&name), name)).collect();
    if ui.is_json() {
        let rows: Vec<_> = environments.iter().map(|(regions, name)| json!({"name": name, "regions": regions})).collect();
        ui.json(&rows)?;
        return Ok(ExitStatus::Done);
    }
    for (regions, name) in environments {
        let regions: Vec<String> = regions.iter().map(ToString::to_string).collect();
        ui.text(&format!("{:<12}{}\n", name.to_string(), regions.join(" ")))?;
    }
    Ok(ExitStatus::Done)
}

fn show(args: &ShowArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let environment = context::environment(global, &sources)?;
    let entries: Vec<ValueEntry> = environment
        .entries()
        .into_iter()
        .filter(|entry| args.path.as_deref().is_none_or(|path| is_at_or_below(&entry.path, path)))
        .collect();
    if entries.is_empty() && args.path.is_some() {
        let path = args.path.as_deref().unwrap_or_default();
        return Err(CliError::Usage {
            message: format!("no value at or below `{path}`"),
            help: "`provision env show` without a path lists all".to_owned(),
        });
    }
    if ui.is_json() && (args.origin || args.path.is_some()) {
        ui.json(&entries)?;
    } else if ui.is_json() {
        ui.json(&*environment.values)?;
    } else if args.origin || args.path.is_some() {
        for entry in &entries {
            ui.text(&entry_text(entry, args.origin))?;
        }
    } else {
        ui.text(&value_to_yaml(&environment.values))?;
    }
    Ok(ExitStatus::Done)
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn entry_text(entry: &ValueEntry, origin: bool) -> String {
    let mut text = format!("{} = {}", entry.path, entry.value);
    if origin {
        let place = entry.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
        text.push_str(&format!("  # {place}"));
        for layer in &entry.overridden {
            text.push_str(&format!(", over {} from {}", layer.value, layer.origin));
        }
    }
    text.push('\n');
    text
}

fn check(global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let environment = context::environment(global, &sources)?;
    let rendered = render(&sources, &environment, &RenderInputs::default()).map_err(CliError::Config)?;
    let findings = &rendered.desired.findings;
    if ui.is_json() {
        ui.json(findings)?;
    }
    for finding in findings {
        ui.note(&report::finding_text(finding));
    }
    let fatal = findings.iter().filter(|finding| finding.severity == Severity::Fatal).count();
    if fatal > 0 {
        return Err(CliError::Findings { count: fatal, exit: ExitStatus::Invalid });
    }
    ui.note(&format!("{}: {} objects, {} findings", environment.release, rendered.desired.objects.len(), findings.len()));
    Ok(ExitStatus::Done)
}

fn diff(args: &DiffArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let select = |name: &str| {
        let (environment, region) =
            name.split_once('/').map_or((name, None), |(environment, region)| (environment, Some(region.to_owned())));
        Selection { environment: environment.to_owned(), region, sets: global.sets.clone() }
    };
    let diff = env_diff(&sources, &select(&args.a), &select(&args.b), &RenderInputs::default()).map_err(CliError::Config)?;
    if ui.is_json() {
        ui.json(&diff)?;
    } else {
        ui.text(&diff.to_string())?;
    }
    Ok(if diff.is_empty() { ExitStatus::Done } else { ExitStatus::Differences })
}
