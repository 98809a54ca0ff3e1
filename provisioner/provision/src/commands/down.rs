use clap::Args;
use provision_apply::GenerationKind;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::operate::{RunArgs, confirm, finish};
use crate::session::{Session, blocked};
use crate::ui::Ui;
use crate::ui::plan::show_plan;

/// Delete everything that the release owns, in reverse order. Namespaces that hold other people's objects stay.
///
/// Example: provision down --env dev
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(args: DownArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    ui.long_work();
    let session = Session::open(global, ui).await?;
    let plan = session.plan_down().await?;
    show_plan(ui, &plan)?;
    if let Some(refusal) = blocked(&plan) {
        return Err(refusal);
    }
    if plan.is_empty() {
        ui.done_without_work(&format!("{}: nothing is there", session.scope.release))?;
        session.rest().await?;
        return Ok(ExitStatus::Done);
    }
    confirm(ui, &args.run, &format!("Delete all this from {}?", session.identity_text()))?;
    let status = finish(&session, &plan, args.run.options(GenerationKind::Down), ui).await?;
    if status == ExitStatus::Done {
        session.rest().await?;
    }
    Ok(status)
}
