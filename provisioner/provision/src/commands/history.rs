use clap::Args;
use provision_apply::{GenerationKind, GenerationState, history};

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::session::Session;
use crate::ui::Ui;

/// List the recorded releases, oldest first.
///
/// Example: provision history --env dev
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {}

pub(crate) async fn run(_args: HistoryArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let session = Session::open(global, ui).await?;
    let generations = history(&session.run, &session.scope).await.map_err(CliError::apply)?;
    if ui.is_json() {
        ui.json(&generations)?;
        return Ok(ExitStatus::Done);
    }
    if generations.is_empty() {
        ui.text(&format!("{}: no release recorded\n", session.scope.release))?;
        return Ok(ExitStatus::Done);
    }
    ui.text(&format!("{:>4}  {:<14} {:<11} {:<20} {:>7}  {}\n", "N", "KIND", "STATE", "STARTED (UTC)", "OBJECTS", "BY"))?;
    for generation in generations {
        let kind = match generation.kind {
            GenerationKind::Up => "up".to_owned(),
            GenerationKind::Rollback { to } => format!("rollback to {to}"),
            GenerationKind::Down => "down".to_owned(),
        };
        let state = match generation.state {
            GenerationState::Pending => "pending",
            GenerationState::Done => "done",
            GenerationState::Failed => "failed",
            GenerationState::Superseded => "superseded",
        };
        let started = generation.started.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let row = format!("{:>4}  {kind:<14} {state:<11} {started:<20} {:>7}  {}\n", generation.number, generation.objects, generation.by);
        ui.text(&row)?;
    }
    Ok(ExitStatus::Done)
}
