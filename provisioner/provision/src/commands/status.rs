use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use provision_apply::{ObjectStatus, StatusLine, status};
use provision_model::{Health, Verdict};
use serde_json::json;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::interrupts::Interrupts;
use crate::notices;
use crate::session::Session;
use crate::ui::Ui;

/// Show the state of every object of the release, or of one object from a file.
///
/// Examples:
///   provision status --env dev
///   provision status --env dev --watch
///   kubectl get deployment/x -o yaml | provision status --file -
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {
    /// Show changes as they happen, until Ctrl-C.
    #[arg(long, short = 'w')]
    watch: bool,
    /// Judge the first object of this file; the others are its context. `-` reads stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    file: Option<PathBuf>,
}

pub(crate) async fn run(args: StatusArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    if let Some(file) = &args.file {
        return of_file(file, ui);
    }
    let session = Session::open(global, ui).await?;
    let shown = status(&session.run, &session.scope).await.map_err(CliError::apply)?;
    if args.watch {
        return watch(&session, shown.objects, ui).await;
    }
    let kinds = shown.objects.iter().map(|row| row.resource.kind.clone()).collect();
    let mut notices = notices::about_engine(&session, &kinds).await?;
    notices.extend(shown.notices);
    if ui.is_json() {
        let objects: Vec<StatusLine> = shown.objects.iter().map(|row| StatusLine::of(&row.resource, &row.verdict)).collect();
        ui.json(&json!({"release": session.scope.release, "objects": objects, "endpoints": shown.endpoints, "notices": notices}))?;
    } else if shown.objects.is_empty() {
        ui.text(&format!("{}: nothing is recorded\n", session.scope.release))?;
    } else {
        show(ui, &shown.objects)?;
        for (name, url) in &shown.endpoints {
            ui.text(&format!("{name}: {url}\n"))?;
        }
        // A remark, not a state.
        notices.iter().for_each(|text| ui.note(&format!("note: {text}")));
    }
    let all_current = shown.objects.iter().all(|status| status.verdict.health == Health::Current);
    Ok(if all_current { ExitStatus::Done } else { ExitStatus::Failed })
}

/// Shows what changes, until Ctrl-C.
async fn watch(session: &Session, mut shown: Vec<ObjectStatus>, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let mut interrupts = Interrupts::listen()?;
    show(ui, &shown)?;
    loop {
        let look = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            status(&session.run, &session.scope).await.map(|status| status.objects).map_err(CliError::apply)
        };
        let now = tokio::select! {
            () = interrupts.next() => return Ok(ExitStatus::Interrupted),
            now = look => now?,
        };
        let mut changed: Vec<ObjectStatus> = now.iter().filter(|status| !shown.contains(status)).cloned().collect();
        let left = shown.iter().filter(|before| !now.iter().any(|status| status.resource == before.resource));
        let gone = || Verdict::new(Health::NotFound, "the release does not have it any more");
        changed.extend(left.map(|before| ObjectStatus { verdict: gone(), ..before.clone() }));
        show(ui, &changed)?;
        shown = now;
    }
}

/// Shows rows: for people a line each, for programs an event each.
fn show(ui: &mut Ui, rows: &[ObjectStatus]) -> Result<(), CliError> {
    let width = rows.iter().map(|row| row.resource.to_string().len()).max().unwrap_or_default();
    for row in rows {
        if ui.is_json() {
            ui.event(&StatusLine::of(&row.resource, &row.verdict))?;
        } else {
            let reason = row.verdict.cause.map_or_else(String::new, |cause| format!("[{cause}] "));
            ui.text(&format!(
                "{:<11} {:<width$}  {reason}{}\n",
                row.verdict.health.to_string(),
                row.resource.to_string(),
                row.verdict.message
            ))?;
        }
    }
    Ok(())
}

/// Judges one object from YAML or JSON documents.
fn of_file(file: &std::path::Path, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let failed = |source| CliError::File { action: "read", path: file.to_path_buf(), source };
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(file).map_err(failed)?;
    }
    let wrong = |reason: String| CliError::Content {
        path: file.to_path_buf(),
        reason,
        help: "give Kubernetes objects as YAML or JSON documents, the one to judge first".to_owned(),
    };
    let documents: Vec<serde_json::Value> = serde_yaml::from_multiple(&text).map_err(|source| wrong(source.to_string()))?;
    let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
    let line = StatusLine::of_stream(&documents, jiff::Timestamp::now()).map_err(|source| wrong(source.to_string()))?;
    let Some(line) = line else { return Err(wrong("it holds no object".to_owned())) };
    ui.event(&line)?;
    Ok(ExitStatus::Done)
}
