use clap::Args;
use provision_apply::observe;
use provision_plan::{drift, view_drift};

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::session::Session;
use crate::ui::Ui;
use crate::ui::plan::painted;

/// Show what differs from what the last release left: which field, who changed it, when. Exits with 3 when something does.
///
/// Example: provision drift --env dev
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {}

pub(crate) async fn run(_args: DriftArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let session = Session::open(global, ui).await?;
    let observed = observe(&session.run, &session.scope, &[]).await.map_err(CliError::apply)?;
    let found = drift(&observed);
    if ui.is_json() {
        ui.json(&found)?;
    } else if found.is_empty() {
        ui.text(&format!("{}: no drift in {} objects\n", session.scope.release, observed.recorded.len()))?;
    } else {
        ui.text(&painted(&view_drift(&found)))?;
    }
    Ok(if found.is_empty() { ExitStatus::Done } else { ExitStatus::Differences })
}
