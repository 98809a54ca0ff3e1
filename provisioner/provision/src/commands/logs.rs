use std::collections::BTreeSet;

use clap::Args;
use futures::StreamExt;
use futures::stream::{FuturesUnordered, SelectAll};
use provision_apply::{Cluster, LogLines, Pod, pods};
use provision_model::ResourceId;
use serde_json::json;

use crate::args::GlobalArgs;
use crate::commands::restart::meant;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::interrupts::Interrupts;
use crate::session::Session;
use crate::ui::Ui;

/// Show what services have written.
///
/// Examples:
///   provision logs feature-worker --env dev
///   provision logs feature-worker-0 --env dev --previous
///   provision logs --follow --env dev
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LogsArgs {
    /// Names of workloads, Jobs or pods; all of the release when left out.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Go on with each line as it is written, until Ctrl-C.
    #[arg(long, short = 'f', conflicts_with = "previous")]
    follow: bool,
    /// The last lines only, of each container.
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: u32,
    /// Only containers of this name.
    #[arg(long, short = 'c', value_name = "NAME")]
    container: Option<String>,
    /// What the containers wrote before they were started again.
    #[arg(long, short = 'p')]
    previous: bool,
}

/// One log that is shown.
#[derive(Clone)]
struct Source {
    pod: ResourceId,
    container: String,
    /// What stands before each line; empty if there is only one log.
    label: String,
}

pub(crate) async fn run(args: LogsArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let session = Session::open(global, ui).await?;
    let there = pods(&session.run, &session.scope).await.map_err(CliError::apply)?;
    let sources = labelled(choose(&args, &there)?);
    if args.follow { follow(&session, &sources, args.tail, ui).await } else { show(&session, &sources, &args, ui).await }
}

/// Finds the containers that are named; all names that are none are told at once.
fn choose(args: &LogsArgs, there: &[Pod]) -> Result<Vec<(ResourceId, String)>, CliError> {
    let is_named = |pod: &Pod, name: &str| pod.id.name == name || pod.workload.name == name;
    let unknown: Vec<&str> = args.names.iter().map(String::as_str).filter(|name| !there.iter().any(|pod| is_named(pod, name))).collect();
    if !unknown.is_empty() {
        let known: BTreeSet<&str> = there.iter().map(|pod| pod.workload.name.as_str()).collect();
        return Err(CliError::Usage {
            message: format!("nothing of the release is called `{}`, or it has no pod", unknown.join("`, `")),
            help: meant(&unknown, &known, "there are pods of: "),
        });
    }
    let chosen: Vec<&Pod> = there.iter().filter(|pod| args.names.is_empty() || args.names.iter().any(|name| is_named(pod, name))).collect();
    if let Some(container) = &args.container {
        let known: BTreeSet<&str> = chosen.iter().flat_map(|pod| &pod.containers).map(String::as_str).collect();
        if !known.contains(container.as_str()) {
            return Err(CliError::Usage {
                message: format!("no container is called `{container}`"),
                help: meant(&[container], &known, "there are: "),
            });
        }
    }
    let wanted = |name: &&String| args.container.as_ref().is_none_or(|only| only == *name);
    Ok(chosen
        .into_iter()
        .flat_map(|pod| pod.containers.iter().filter(wanted).map(|container| (pod.id.clone(), container.clone())))
        .collect())
}

fn labelled(chosen: Vec<(ResourceId, String)>) -> Vec<Source> {
    let several = chosen.len() > 1;
    let of_pod = |pod: &ResourceId| chosen.iter().filter(|(other, _)| other == pod).count();
    let label = |pod: &ResourceId, container: &str| match (several, of_pod(pod)) {
        (false, _) => String::new(),
        (true, 1) => pod.name.clone(),
        (true, _) => format!("{} {container}", pod.name),
    };
    let labels: Vec<String> = chosen.iter().map(|(pod, container)| label(pod, container)).collect();
    let width = labels.iter().map(String::len).max().unwrap_or_default();
    let source = |((pod, container), label): ((ResourceId, String), String)| {
        let label = if label.is_empty() { label } else { format!("{label:<width$} │ ") };
        Source { pod, container, label }
    };
    chosen.into_iter().zip(labels).map(source).collect()
}

/// Shows the last lines of each log, one log after the other.
async fn show(session: &Session, sources: &[Source], args: &LogsArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let mut read: FuturesUnordered<_> =
        sources
            .iter()
            .enumerate()
            .map(|(place, source)| async move {
                (place, session.run.cluster.logs(&source.pod, &source.container, args.previous, args.tail).await)
            })
            .collect();
    let mut logs: Vec<Option<Result<Vec<String>, _>>> = sources.iter().map(|_| None).collect();
    while let Some((place, log)) = read.next().await {
        logs[place] = Some(log);
    }
    let mut status = ExitStatus::Done;
    for (source, log) in sources.iter().zip(logs.into_iter().flatten()) {
        match log {
            Ok(lines) => lines.iter().try_for_each(|line| line_of(ui, source, line))?,
            // One container that has not started yet, or never ran before, must not hide the others.
            Err(error) => {
                ui.note(&format!("{} {}: {error}", source.pod.name, source.container));
                status = ExitStatus::Failed;
            }
        }
    }
    Ok(status)
}

/// Shows all logs as they are written, until Ctrl-C or until all containers have ended.
async fn follow(session: &Session, sources: &[Source], tail: u32, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let mut interrupts = Interrupts::listen()?;
    let mut lines: SelectAll<_> = sources
        .iter()
        .map(|source| {
            let stream: LogLines = session.run.cluster.follow(&source.pod, &source.container, tail);
            stream.map(move |line| (source, line)).boxed()
        })
        .collect();
    loop {
        let next = tokio::select! {
            () = interrupts.next() => return Ok(ExitStatus::Interrupted),
            next = lines.next() => next,
        };
        match next {
            None => return Ok(ExitStatus::Done),
            Some((source, Ok(line))) => line_of(ui, source, &line)?,
            Some((source, Err(error))) => ui.note(&format!("{} {}: {error}", source.pod.name, source.container)),
        }
    }
}

/// Writes a line; control characters are a container's own business, but not on this terminal.
fn line_of(ui: &mut Ui, source: &Source, line: &str) -> Result<(), CliError> {
    if ui.is_json() {
        return ui.event(&json!({"pod": source.pod.name, "container": source.container, "line": line}));
    }
    ui.text(&format!("{}{line}\n", source.label))
}
