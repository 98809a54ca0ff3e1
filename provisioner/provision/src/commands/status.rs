use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use provision_apply::{ObjectStatus, StatusLine, status};
use provision_model::Health;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
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
    show(ui, &shown)?;
    if args.watch {
        return watch(&session, shown, ui).await;
    }
    let all_current = shown.iter().all(|status| status.verdict.health == Health::Current);
    Ok(if all_current { ExitStatus::Done } else { ExitStatus::Failed })
}

/// Shows what changes, until Ctrl-C.
async fn watch(session: &Session, mut shown: Vec<ObjectStatus>, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    loop {
        tokio::select! {
            signal = tokio::signal::ctrl_c() => {
                signal.map_err(|source| CliError::Output { source })?;
                return Ok(ExitStatus::Interrupted);
            }
            () = tokio::time::sleep(std::time::Duration::from_secs(2)) => {}
        }
        let now = status(&session.run, &session.scope).await.map_err(CliError::apply)?;
        let changed: Vec<ObjectStatus> = now.iter().filter(|status| !shown.contains(status)).cloned().collect();
        show(ui, &changed)?;
        shown = now;
    }
}

fn show(ui: &mut Ui, rows: &[ObjectStatus]) -> Result<(), CliError> {
    for row in rows {
        if ui.is_json() {
            ui.event(&StatusLine::of(&row.resource, &row.verdict))?;
        } else {
            let reason = row.verdict.cause.map_or_else(String::new, |cause| format!("[{cause}] "));
            ui.text(&format!("{:<11} {:<60} {reason}{}\n", row.verdict.health.to_string(), row.resource.to_string(), row.verdict.message))?;
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
